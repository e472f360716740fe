//! Prints values and lists in the format that the user chose.

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
    Yaml,
    /// JSON
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
        OutputFormat::Yaml => out.write_all(&encoding::encode([value], Format::Yaml))?,
        OutputFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, value)?;
            writeln!(out)?;
        }
        OutputFormat::Xml => xml::write(value, out)?,
        OutputFormat::Cbor => {
            ciborium::into_writer(value, out).context("cannot write CBOR")?;
        }
        OutputFormat::MessagePack => {
            let bytes = rmp_serde::to_vec_named(value).context("cannot write MessagePack")?;
            out.write_all(&bytes)?;
        }
        OutputFormat::Table => table::write(value, out)?,
    }
    Ok(())
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
                self.out.write_all(&text)?;
            }
            OutputFormat::Json => {
                let before = if self.count == 0 { "[\n" } else { ",\n" };
                self.out.write_all(before.as_bytes())?;
                serde_json::to_writer_pretty(&mut *self.out, &item)?;
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
