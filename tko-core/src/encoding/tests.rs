//! Tests of the encodings: tables for each format, hostile input, properties across formats.

use serde_json::Value;

use super::{DecodeError, Dialect, Format, Limits, UnknownFormat, decode, encode};

mod cbor;
mod hostile;
mod json;
mod lists;
mod round_trip;
mod yaml;
mod yaml_scalars;
mod yaml_writing;

fn read(bytes: &[u8], format: Format, dialect: Dialect) -> Result<Vec<Value>, DecodeError> {
    decode(bytes, format, dialect, &Limits::default())
}

fn people(yaml: &str) -> Result<Vec<Value>, DecodeError> {
    read(yaml.as_bytes(), Format::Yaml, Dialect::People)
}

fn programs(yaml: &str) -> Result<Vec<Value>, DecodeError> {
    read(yaml.as_bytes(), Format::Yaml, Dialect::Programs)
}

/// The message of the error that reading returns.
fn refusal(result: Result<Vec<Value>, DecodeError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn formats_are_named_as_on_the_wire() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error: UnknownFormat = "xml".parse::<Format>().expect_err("no such format");
    assert_eq!(
        error.to_string(),
        r#"unknown package format "xml"; use yaml, json or cbor"#
    );
    assert!("YAML".parse::<Format>().is_err());
}

#[test]
fn no_bytes_are_an_empty_package_in_every_format() {
    for format in Format::ALL {
        for dialect in [Dialect::People, Dialect::Programs] {
            assert_eq!(read(b"", format, dialect), Ok(Vec::new()));
            assert_eq!(read(&encode([], format), format, dialect), Ok(Vec::new()));
        }
    }
}
