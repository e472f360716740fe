//! A statement put together of parts: common table expressions, and what they are bound to.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};

/// Parts, and arguments in the order of their numbers. What is a value is always bound, so a
/// statement's text depends on its shape alone, and the server keeps a plan for each shape.
#[derive(Default)]
pub(crate) struct Statement {
    parts: Vec<String>,
    arguments: PgArguments,
    count: usize,
}

impl Statement {
    /// Binds a value; its placeholder.
    pub(crate) fn bind<'q, T>(&mut self, value: T) -> Result<String, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        self.count += 1;
        Ok(format!("${}", self.count))
    }

    /// Adds `name AS (body)`.
    pub(crate) fn with(&mut self, name: &str, body: &str) {
        self.parts.push(format!("{name} AS ({body})"));
    }

    /// As [`with`](Self::with), evaluated as a whole before anything that reads it.
    pub(crate) fn with_first(&mut self, name: &str, body: &str) {
        self.parts.push(format!("{name} AS MATERIALIZED ({body})"));
    }

    /// The text, ending in `query`, and what is bound.
    pub(crate) fn finish(self, query: &str) -> (String, PgArguments) {
        let text = format!("WITH {}\n{query}", self.parts.join(",\n"));
        (text, self.arguments)
    }
}
