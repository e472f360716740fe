//! A statement put together of parts: common table expressions, and what they are bound to.

use sqlx::postgres::{PgArguments, PgHasArrayType};
use sqlx::{Arguments, Encode, Postgres, Type};
use std::fmt;

/// The text of the parts, and arguments in the order of their numbers. What is a value is always
/// bound, so a statement's text depends on its shape alone, and the server keeps a plan for each
/// shape.
#[derive(Default)]
pub(crate) struct Statement {
    text: String,
    arguments: PgArguments,
    count: usize,
}

/// Where a bound value goes.
#[derive(Clone, Copy)]
pub(crate) struct Placeholder(usize);

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        write!(f, "${number}")
    }
}

impl Statement {
    /// A creation's text is shorter, in bytes.
    const LENGTH: usize = 4_096;

    /// Binds a value.
    pub(crate) fn bind<'q, T>(&mut self, value: T) -> Result<Placeholder, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        self.count += 1;
        Ok(Placeholder(self.count))
    }

    /// Begins a table of so many rows.
    pub(crate) fn table(&mut self, rows: usize) -> Table<'_> {
        Table {
            statement: self,
            is_one: rows == 1,
            columns: String::new(),
            arrays: String::new(),
            names: String::new(),
        }
    }

    /// Adds `name AS (body)`. If it changes nothing and is read once, it is a part of what reads it.
    pub(crate) fn with(&mut self, name: &str, body: impl fmt::Display) {
        self.part(format_args!("{name} AS ({body})"));
    }

    /// As [`with`](Self::with), evaluated as a whole before anything that reads it.
    pub(crate) fn with_first(&mut self, name: &str, body: impl fmt::Display) {
        self.part(format_args!("{name} AS MATERIALIZED ({body})"));
    }

    fn part(&mut self, part: fmt::Arguments<'_>) {
        if self.text.is_empty() {
            self.text.reserve(Self::LENGTH);
            self.text.push_str("WITH ");
        } else {
            self.text.push_str(",\n");
        }
        write(&mut self.text, part);
    }

    /// The text, ending in `query`, and what is bound.
    pub(crate) fn finish(mut self, query: &str) -> (String, PgArguments) {
        write(&mut self.text, format_args!("\n{query}"));
        (self.text, self.arguments)
    }
}

/// Rows that are bound column by column, to be selected from: several as arrays; one as plain values,
/// of which nothing is left in a plan but the values, while arrays are taken apart by a function.
pub(crate) struct Table<'a> {
    statement: &'a mut Statement,
    is_one: bool,
    /// What is selected.
    columns: String,
    /// What has a value for each row: the arrays, and their names.
    arrays: String,
    names: String,
}

impl Table<'_> {
    /// With this column, of this type, which has a value for each row.
    pub(crate) fn column<'q, T>(
        mut self,
        name: &'static str,
        of: &'static str,
        mut values: Vec<T>,
    ) -> Result<Self, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'q,
        Vec<T>: Encode<'q, Postgres>,
    {
        if self.is_one
            && let Some(value) = values.pop()
        {
            return self.same(name, of, value);
        }
        let values = self.statement.bind(values)?;
        add(&mut self.columns, format_args!("a.{name}"));
        add(&mut self.arrays, format_args!("{values}::{of}[]"));
        add(&mut self.names, format_args!("{name}"));
        Ok(self)
    }

    /// With this column, of this type, which has the same value in all rows.
    pub(crate) fn same<'q, T>(
        mut self,
        name: &'static str,
        of: &'static str,
        value: T,
    ) -> Result<Self, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        let value = self.statement.bind(value)?;
        add(&mut self.columns, format_args!("{value}::{of} AS {name}"));
        Ok(self)
    }

    /// As it is said in `FROM`.
    pub(crate) fn named(self, alias: &str) -> String {
        let Self {
            columns,
            arrays,
            names,
            ..
        } = self;
        if arrays.is_empty() {
            format!("(SELECT {columns}) {alias}")
        } else {
            format!("(SELECT {columns} FROM unnest({arrays}) a({names})) {alias}")
        }
    }
}

/// Adds to a list.
fn add(list: &mut String, item: fmt::Arguments<'_>) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    write(list, item);
}

fn write(text: &mut String, part: fmt::Arguments<'_>) {
    fmt::Write::write_fmt(text, part).expect("a text takes any");
}
