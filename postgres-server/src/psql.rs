//! Statements through the client `psql`.

use crate::account::command;
use crate::error::PsqlError;
use std::fmt::Write;
use std::path::Path;

/// Executes statements. Returns their results: one line per row, with `|` between columns.
pub(crate) fn psql(program: &Path, url: &str, sql: &str) -> Result<String, PsqlError> {
    let output = command(program, None)
        .args(["--no-psqlrc", "--no-password", "--quiet"])
        .args(["--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .arg(format!("--dbname={url}"))
        .arg(format!("--command={sql}"))
        .output()
        .map_err(|error| PsqlError::Run(program.to_owned(), error))?;
    if !output.status.success() {
        return Err(PsqlError::Failed {
            sql: sql.to_owned(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let mut rows = String::from_utf8_lossy(&output.stdout).into_owned();
    rows.truncate(rows.trim_end_matches('\n').len());
    Ok(rows)
}

/// Quotes a name for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The URL of a database. The port is part of the socket's name; it is given so that the variable
/// `PGPORT` has no effect.
pub(crate) fn url(socket: &Path, port: u16, database: &str) -> String {
    let database = encoded(database.as_bytes());
    let socket = encoded(socket.as_os_str().as_encoded_bytes());
    format!("postgresql:///{database}?host={socket}&user={USER}&port={port}")
}

/// The superuser.
pub(crate) const USER: &str = "tko";

/// The port in the name of the socket, unless the server listens on loopback.
pub(crate) const PORT: u16 = 5432;

fn encoded(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("a text takes anything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{quoted, url};
    use std::path::Path;

    #[test]
    fn urls_and_names_are_escaped() {
        assert_eq!(
            url(Path::new("/tmp/tko-pg-1"), 5432, "db"),
            "postgresql:///db?host=/tmp/tko-pg-1&user=tko&port=5432"
        );
        assert_eq!(
            url(Path::new("/a b/c&d"), 5433, "x?y%"),
            "postgresql:///x%3Fy%25?host=/a%20b/c%26d&user=tko&port=5433"
        );
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
    }
}
