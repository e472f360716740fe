//! A statement put together of parts: common table expressions, and what they are bound to.

use sqlx::postgres::{PgArguments, PgHasArrayType};
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

    /// Begins a table of so many rows.
    pub(crate) fn table(&mut self, rows: usize) -> Table<'_> {
        Table {
            statement: self,
            is_one: rows == 1,
            names: Vec::new(),
            values: Vec::new(),
        }
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

/// Rows that are bound column by column, to be selected from: several as arrays; one as plain values,
/// of which nothing is left in a plan but the values, while arrays are taken apart by a function.
pub(crate) struct Table<'a> {
    statement: &'a mut Statement,
    is_one: bool,
    names: Vec<&'static str>,
    values: Vec<String>,
}

impl Table<'_> {
    /// With this column, of this type, which has a value for each row.
    pub(crate) fn column<'q, T>(
        mut self,
        name: &'static str,
        of: &'static str,
        values: Vec<T>,
    ) -> Result<Self, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'q,
        Vec<T>: Encode<'q, Postgres>,
    {
        let value = if self.is_one {
            let mut bound = String::new();
            for value in values {
                bound = self.statement.bind(value)?;
            }
            format!("{bound}::{of}")
        } else {
            format!("{}::{of}[]", self.statement.bind(values)?)
        };
        self.names.push(name);
        self.values.push(value);
        Ok(self)
    }

    /// As it is said in `FROM`.
    pub(crate) fn named(self, alias: &str) -> String {
        if self.is_one {
            let columns = self.values.iter().zip(&self.names);
            let columns = columns.map(|(value, name)| format!("{value} AS {name}"));
            let columns: Vec<_> = columns.collect();
            format!("(SELECT {}) {alias}", columns.join(", "))
        } else {
            let (values, names) = (self.values.join(", "), self.names.join(", "));
            format!("unnest({values}) {alias}({names})")
        }
    }
}
