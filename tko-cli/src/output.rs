//! Prints values and lists in the format that the user chose.

pub(crate) mod diff;
mod table;
mod xml;

use anyhow::Context;
use serde_json::Value;
use std::io::Write;
use tko_core::{Format, Package, encoding};

/// The output format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// YAML, also for packages that Kubernetes reads
    #[value(alias = "bare")]
    Yaml,
    /// JSON
    #[value(alias = "xjson", alias = "go")]
    Json,
    /// XML: each element is named after the type of its value
    Xml,
    /// CBOR, a binary format
    Cbor,
    /// MessagePack, a binary format
    #[value(name = "messagepack")]
    MessagePack,
    /// A table for people
    Table,
    /// Lines of text; only `validate`
    Text,
    /// JUnit XML for CI systems; only `validate`
    Junit,
    /// Test Anything Protocol; only `validate`
    Tap,
}

/// Prints a package. YAML and CBOR have one document per resource, other formats one list.
pub(crate) fn package(
    format: OutputFormat,
    package: &Package,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Yaml => out.write_all(&package.encode(Format::Yaml))?,
        OutputFormat::Cbor => out.write_all(&package.encode(Format::Cbor))?,
        _ => {
            let resources = package.iter().map(|r| r.value().clone()).collect();
            value(format, &Value::Array(resources), out)?;
        }
    }
    Ok(())
}

/// Prints one value.
pub(crate) fn value(
    format: OutputFormat,
    value: &Value,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Yaml => {
            out.write_all(&plain_times(encoding::encode([value], Format::Yaml)))?;
        }
        // Not by `serde_json::to_writer`: its errors hide that a pipe was closed.
        OutputFormat::Json => writeln!(out, "{value:#}")?,
        OutputFormat::Xml => xml::write(value, out)?,
        OutputFormat::Cbor => {
            let mut bytes = Vec::new();
            ciborium::into_writer(value, &mut bytes).context("cannot write CBOR")?;
            out.write_all(&bytes)?;
        }
        OutputFormat::MessagePack => {
            let bytes = rmp_serde::to_vec_named(value).context("cannot write MessagePack")?;
            out.write_all(&bytes)?;
        }
        OutputFormat::Table => table::write(value, out)?,
        OutputFormat::Text | OutputFormat::Junit | OutputFormat::Tap => {
            let message = "only tko validate writes text, junit and tap; choose another format";
            return Err(tko_core::Error::bad("format", message).into());
        }
    }
    Ok(())
}

/// Removes the quotes around times in YAML. Packages keep them: readers of YAML 1.1 would not read
/// a plain time as text.
fn plain_times(yaml: Vec<u8>) -> Vec<u8> {
    let Ok(text) = String::from_utf8(yaml) else {
        return Vec::new();
    };
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match plain_time(line) {
            Some((key, time)) => plain.extend([key, " ", time, "\n"]),
            None => plain.push_str(line),
        }
    }
    plain.into_bytes()
}

/// Splits a line such as `updated: "2026-11-28T16:25:11.000042Z"`.
fn plain_time(line: &str) -> Option<(&str, &str)> {
    const TIMES: [&str; 5] = [
        "created",
        "updated",
        "due",
        "workedOnUntil",
        "lastTransitionTime",
    ];
    let (key, value) = line.split_once(": ")?;
    let name = key.trim_start_matches([' ', '-']);
    let value = value.trim_end();
    let time = ['"', '\''].iter().find_map(|quote| {
        value
            .strip_prefix(*quote)
            .and_then(|value| value.strip_suffix(*quote))
    })?;
    let is_time = time.ends_with('Z')
        && time
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"-:.TZ".contains(&byte));
    (TIMES.contains(&name) && is_time).then(|| (&line[..=key.len()], time))
}

/// Prints a list. YAML and JSON are printed item by item.
pub(crate) struct ListWriter<'a> {
    format: OutputFormat,
    out: &'a mut dyn Write,
    count: u64,
    /// Items of the formats that need the whole list.
    kept: Vec<Value>,
}

impl<'a> ListWriter<'a> {
    pub(crate) fn new(format: OutputFormat, out: &'a mut dyn Write) -> Self {
        Self {
            format,
            out,
            count: 0,
            kept: Vec::new(),
        }
    }

    /// Prints the next item.
    pub(crate) fn item(&mut self, item: Value) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Yaml => {
                // YAML lists of one item each, concatenated, are one list.
                let text = encoding::encode([&Value::Array(vec![item])], Format::Yaml);
                self.out.write_all(&plain_times(text))?;
            }
            OutputFormat::Json => {
                let before = if self.count == 0 { "[\n" } else { ",\n" };
                self.out.write_all(before.as_bytes())?;
                write!(self.out, "{item:#}")?;
            }
            _ => self.kept.push(item),
        }
        self.count += 1;
        Ok(())
    }

    /// Ends the list.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        match (self.format, self.count) {
            (OutputFormat::Yaml | OutputFormat::Json, 0) => writeln!(self.out, "[]")?,
            (OutputFormat::Yaml, _) => {}
            (OutputFormat::Json, _) => writeln!(self.out, "\n]")?,
            (format, _) => value(format, &Value::Array(self.kept), self.out)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ListWriter, OutputFormat, plain_times, value};
    use crate::exit::is_closed_pipe;
    use serde_json::json;
    use std::io::{Error, ErrorKind, Write};

    /// A standard output whose reader has gone.
    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::from(ErrorKind::BrokenPipe))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_recognised_in_every_format() {
        for format in [
            OutputFormat::Yaml,
            OutputFormat::Json,
            OutputFormat::Xml,
            OutputFormat::Cbor,
            OutputFormat::MessagePack,
            OutputFormat::Table,
        ] {
            let error = value(format, &json!([{"id": 1}]), &mut ClosedPipe);
            let error = error.expect_err("the pipe is closed");
            assert!(is_closed_pipe(&error), "{format:?}: {error:#}");
        }
    }

    #[test]
    fn a_list_in_json_is_printed_as_before() {
        let mut out = Vec::new();
        let mut list = ListWriter::new(OutputFormat::Json, &mut out);
        list.item(json!({"id": "a"})).expect("written");
        list.item(json!([])).expect("written");
        list.end().expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "[\n{\n  \"id\": \"a\"\n},\n[]\n]\n");
    }

    #[test]
    fn times_of_rows_are_plain_and_other_text_stays_quoted() {
        let yaml = "- updated: \"2026-11-28T16:25:11.000042Z\"\n  created: '2026-11-28T16:25:11Z'\n  other: '2026-11-28T16:25:11Z'\n  due: 'yes'\n";
        let plain = plain_times(yaml.as_bytes().to_vec());
        assert_eq!(
            String::from_utf8(plain).expect("text"),
            "- updated: 2026-11-28T16:25:11.000042Z\n  created: 2026-11-28T16:25:11Z\n  other: '2026-11-28T16:25:11Z'\n  due: 'yes'\n"
        );
    }
}
