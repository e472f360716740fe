//! Values of a statement: bound to it, or set before it.

use crate::dialect::setting;
use sqlx::Arguments;
use sqlx::postgres::PgArguments;

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Texts(&'a [String]),
    Number(i64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [String]> for Value<'a> {
    fn from(texts: &'a [String]) -> Self {
        Self::Texts(texts)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Where values go.
pub(super) trait Given {
    /// Takes one; how the statement says it.
    fn give(&mut self, value: Value<'_>) -> Result<String, sqlx::Error>;
}

/// Bound, as `$1` and on.
impl Given for PgArguments {
    fn give(&mut self, value: Value<'_>) -> Result<String, sqlx::Error> {
        match value {
            Value::Text(text) => self.add(text),
            Value::Texts(texts) => self.add(texts),
            Value::Number(number) => self.add(number),
        }
        .map_err(sqlx::Error::Encode)?;
        Ok(format!("${}", self.len()))
    }
}

/// As [settings](setting) of the transaction, for statements to which nothing can be bound. Numbers
/// are part of the statement: there are few.
impl Given for Vec<String> {
    fn give(&mut self, value: Value<'_>) -> Result<String, sqlx::Error> {
        match value {
            Value::Number(number) => return Ok(number.to_string()),
            Value::Text(text) => self.push(text.to_owned()),
            Value::Texts(texts) => self.push(array(texts)),
        }
        let setting = setting(self.len());
        Ok(match value {
            Value::Texts(_) => format!("{setting}::text[]"),
            _ => setting,
        })
    }
}

/// An array as PostgreSQL writes it.
/// (<https://www.postgresql.org/docs/current/arrays.html>, "Array Input and Output Syntax")
fn array(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| {
        let text = text.replace('\\', r"\\").replace('"', r#"\""#);
        format!("\"{text}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::{Given, Value};
    use crate::dialect::set;
    use sqlx::{AssertSqlSafe, Connection, PgConnection};
    use tko_postgres_server::shared;

    #[tokio::test]
    async fn what_is_set_is_what_the_statement_reads() {
        let texts = [
            "", "a", "a,b", "{}", "\"", "\\", "\\\"x", "NULL", " é ", "'; --", "$1",
        ];
        let texts = texts.map(str::to_owned);
        let mut settings = Vec::new();
        let all = settings.give(Value::Texts(&texts)).expect("taken");
        let one = settings.give(Value::Text(&texts[9])).expect("taken");
        let number = settings.give(Value::Number(7)).expect("taken");
        let server = shared();
        let database = server.create_database().expect("a database");
        let connection = PgConnection::connect(&server.url(&database)).await;
        let mut connection = connection.expect("a connection");
        let mut connection = connection.begin().await.expect("a transaction");
        let before = set("SELECT 1", settings.len());
        let mut before = sqlx::query(AssertSqlSafe(before));
        for setting in &settings {
            before = before.bind(setting);
        }
        before.execute(&mut *connection).await.expect("set");
        let sql = format!("SELECT {all}, {one}, {number}");
        let read: (Vec<String>, String, i32) = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await
            .expect("read");
        assert_eq!(read, (texts.to_vec(), texts[9].clone(), 7));
    }
}
