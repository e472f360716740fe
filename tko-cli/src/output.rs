//! What commands print: one value, or a list of them, in the format that was asked for.

mod table;
mod xml;

use anyhow::Context;
use serde_json::Value;
use std::io::Write;
use tko_core::{Format, Package, encoding};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people and for Kubernetes
    Yaml,
    /// For programs
    Json,
    /// Every value in an element that says its type
    Xml,
    /// Compact, binary
    Cbor,
    /// Compact, binary
    #[value(name = "messagepack")]
    MessagePack,
    /// Columns, for people
    Table,
}

/// Prints a package: of several resources as its format has them.
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

/// Prints a list, item by item where the format allows it.
pub(crate) struct ListWriter<'a> {
    format: OutputFormat,
    out: &'a mut dyn Write,
    count: u64,
    /// For formats that want to know the whole before they begin.
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

    /// Prints the next one.
    pub(crate) fn item(&mut self, item: Value) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Yaml => {
                // Lists of one item each, one after the other, are one list.
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
