//! The builder of statements: common table expressions, tables of values, and typed parameters.
//!
//! Every value is a parameter. So the text of a statement depends only on its shape, and the server
//! keeps a plan for each shape.

mod table;
mod values;

use sqlx::postgres::PgArguments;
use sqlx::{Encode, Postgres, Type};
use std::fmt::{self, Write as _};

pub(crate) use table::SqlTable;
pub(crate) use values::{Placeholder, SqlValues, TransactionSettings};

/// Builds one statement. `V` determines where its values go: to the arguments of the statement, or
/// to settings of the transaction.
#[derive(Default)]
pub(crate) struct SqlBuilder<V = PgArguments> {
    /// Common table expressions, joined by commas.
    parts: String,
    is_recursive: bool,
    /// Whether tables of a single row are arrays, too.
    has_arrays: bool,
    values: V,
}

/// The text of a statement, and its values.
pub(crate) struct BuiltSql<V = PgArguments> {
    pub(crate) text: String,
    pub(crate) values: V,
}

impl<V: SqlValues> SqlBuilder<V> {
    /// The capacity of a new text, in bytes. It suffices for the creation of one entity.
    const CAPACITY: usize = 4_096;

    /// Adds a text parameter.
    pub(crate) fn text(&mut self, text: &str) -> sqlx::Result<Placeholder> {
        self.values.text(text)
    }

    /// Adds a parameter that is an array of texts.
    pub(crate) fn texts(&mut self, texts: &[String]) -> sqlx::Result<Placeholder> {
        self.values.texts(texts)
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: i64) -> sqlx::Result<Placeholder> {
        self.values.number(number)
    }

    /// Adds `name AS (body)`. The planner may merge it into its only reader.
    pub(crate) fn with(&mut self, name: &str, body: impl fmt::Display) {
        self.part(format_args!("{name} AS ({body})"));
    }

    /// Adds `name AS MATERIALIZED (body)`. It is evaluated once, separately from its readers.
    pub(crate) fn with_materialized(&mut self, name: &str, body: impl fmt::Display) {
        self.part(format_args!("{name} AS MATERIALIZED ({body})"));
    }

    /// Adds `name AS (body)`, where `body` reads `name`.
    pub(crate) fn with_recursive(&mut self, name: &str, body: impl fmt::Display) {
        self.is_recursive = true;
        self.with(name, body);
    }

    fn part(&mut self, part: fmt::Arguments<'_>) {
        if self.parts.is_empty() {
            self.parts.reserve(Self::CAPACITY);
        } else {
            self.parts.push_str(",\n");
        }
        append(&mut self.parts, part);
    }

    /// Returns the statement that ends in this query.
    pub(crate) fn finish(self, query: impl fmt::Display) -> BuiltSql<V> {
        let mut text = match (self.parts.is_empty(), self.is_recursive) {
            (true, _) => String::new(),
            (false, true) => format!("WITH RECURSIVE {}\n", self.parts),
            (false, false) => format!("WITH {}\n", self.parts),
        };
        append(&mut text, format_args!("{query}"));
        BuiltSql {
            text,
            values: self.values,
        }
    }
}

impl SqlBuilder {
    /// A builder whose text does not depend on whether tables have one row, so the statement has
    /// fewer shapes to plan.
    pub(crate) fn of_arrays() -> Self {
        Self {
            has_arrays: true,
            ..Self::default()
        }
    }

    /// Adds a parameter of any type.
    pub(crate) fn bind<'q, T>(&mut self, value: T) -> sqlx::Result<Placeholder>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        values::bind(&mut self.values, value)
    }

    /// Starts a table of this many rows, for use in `FROM`.
    pub(crate) fn table(&mut self, rows: usize) -> SqlTable<'_> {
        SqlTable::new(&mut self.values, rows == 1 && !self.has_arrays)
    }
}

/// Appends to a text.
fn append(text: &mut String, part: fmt::Arguments<'_>) {
    text.write_fmt(part)
        .expect("writing to a string does not fail");
}
