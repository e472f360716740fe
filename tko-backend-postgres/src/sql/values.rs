//! Values of a statement: its arguments, or settings of its transaction.

use crate::dialect::setting;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};
use std::fmt;

/// How the text of a statement refers to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// An argument: `$1` and so on.
    Argument(usize),
    /// A setting of the transaction, by its number from 1.
    Setting(usize),
    /// A setting that contains an array of texts.
    ArraySetting(usize),
    /// The number itself.
    Number(i64),
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(number) => write!(f, "${number}"),
            Self::Setting(number) => f.write_str(&setting(*number)),
            Self::ArraySetting(number) => write!(f, "{}::text[]", setting(*number)),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A place for the values of a statement.
pub(crate) trait SqlValues {
    /// Adds a text.
    fn text(&mut self, text: &str) -> sqlx::Result<Placeholder>;

    /// Adds an array of texts.
    fn texts(&mut self, texts: &[String]) -> sqlx::Result<Placeholder>;

    /// Adds a number.
    fn number(&mut self, number: i64) -> sqlx::Result<Placeholder>;
}

/// Adds an argument of any type.
pub(super) fn bind<'q, T>(arguments: &mut PgArguments, value: T) -> sqlx::Result<Placeholder>
where
    T: Encode<'q, Postgres> + Type<Postgres> + 'q,
{
    arguments.add(value).map_err(sqlx::Error::Encode)?;
    Ok(Placeholder::Argument(arguments.len()))
}

impl SqlValues for PgArguments {
    fn text(&mut self, text: &str) -> sqlx::Result<Placeholder> {
        bind(self, text)
    }

    fn texts(&mut self, texts: &[String]) -> sqlx::Result<Placeholder> {
        bind(self, texts)
    }

    fn number(&mut self, number: i64) -> sqlx::Result<Placeholder> {
        bind(self, number)
    }
}

/// Values as [settings](setting) of the transaction, for statements that take no arguments.
///
/// Numbers become part of the text, because there are few different ones.
#[derive(Debug, Default)]
pub(crate) struct TransactionSettings(Vec<String>);

impl TransactionSettings {
    /// Returns the texts to set, in the order of their numbers.
    pub(crate) fn into_texts(self) -> Vec<String> {
        self.0
    }

    fn add(&mut self, text: String) -> usize {
        self.0.push(text);
        self.0.len()
    }
}

impl SqlValues for TransactionSettings {
    fn text(&mut self, text: &str) -> sqlx::Result<Placeholder> {
        Ok(Placeholder::Setting(self.add(text.to_owned())))
    }

    fn texts(&mut self, texts: &[String]) -> sqlx::Result<Placeholder> {
        Ok(Placeholder::ArraySetting(self.add(array(texts))))
    }

    fn number(&mut self, number: i64) -> sqlx::Result<Placeholder> {
        Ok(Placeholder::Number(number))
    }
}

/// Returns an array in the syntax of PostgreSQL
/// (<https://www.postgresql.org/docs/current/arrays.html>, "Array Input and Output Syntax").
fn array(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| {
        let text = text.replace('\\', r"\\").replace('"', r#"\""#);
        format!("\"{text}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::{SqlValues, TransactionSettings};
    use crate::dialect::select_and_set;
    use sqlx::{AssertSqlSafe, Connection, PgConnection};
    use tko_postgres_server::shared;

    #[tokio::test]
    async fn settings_keep_their_values() {
        let texts = [
            "", "a", "a,b", "{}", "\"", "\\", "\\\"x", "NULL", " é ", "'; --", "$1",
        ];
        let texts = texts.map(str::to_owned);
        let mut settings = TransactionSettings::default();
        let all = settings.texts(&texts).expect("added");
        let one = settings.text(&texts[9]).expect("added");
        let number = settings.number(7).expect("added");
        let server = shared();
        let database = server.create_database().expect("a database");
        let connection = PgConnection::connect(&server.url(&database)).await;
        let mut connection = connection.expect("a connection");
        let mut connection = connection.begin().await.expect("a transaction");
        let settings = settings.into_texts();
        let before = select_and_set("SELECT 1", settings.len());
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
