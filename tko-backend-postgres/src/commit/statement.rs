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
    /// Most statements are shorter, in bytes.
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
            columns: Vec::with_capacity(20),
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
        self.write(part);
    }

    fn write(&mut self, part: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(&mut self.text, part).expect("a text takes any");
    }

    /// The text, ending in `query`, and what is bound.
    pub(crate) fn finish(mut self, query: &str) -> (String, PgArguments) {
        self.write(format_args!("\n{query}"));
        (self.text, self.arguments)
    }
}

/// Rows that are bound column by column, to be selected from: several as arrays; one as plain values,
/// of which nothing is left in a plan but the values, while arrays are taken apart by a function.
pub(crate) struct Table<'a> {
    statement: &'a mut Statement,
    is_one: bool,
    columns: Vec<Column>,
}

struct Column {
    name: &'static str,
    of: &'static str,
    value: Placeholder,
    /// One value for all rows.
    is_same: bool,
}

impl Table<'_> {
    /// With this column, of this type, which has a value for each row.
    pub(crate) fn column<'q, T>(
        self,
        name: &'static str,
        of: &'static str,
        values: Vec<T>,
    ) -> Result<Self, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'q,
        Vec<T>: Encode<'q, Postgres>,
    {
        if self.is_one {
            let mut values = values;
            let value = values.pop().ok_or_else(|| {
                sqlx::Error::Encode(format!("no value for {name} of one row").into())
            })?;
            return self.same(name, of, value);
        }
        let value = self.statement.bind(values)?;
        Ok(self.with(name, of, value, false))
    }

    /// With this column, of this type, which has the same value in all rows.
    pub(crate) fn same<'q, T>(
        self,
        name: &'static str,
        of: &'static str,
        value: T,
    ) -> Result<Self, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        let value = self.statement.bind(value)?;
        Ok(self.with(name, of, value, true))
    }

    fn with(
        mut self,
        name: &'static str,
        of: &'static str,
        value: Placeholder,
        is_same: bool,
    ) -> Self {
        self.columns.push(Column {
            name,
            of,
            value,
            is_same,
        });
        self
    }

    /// To be said in `FROM`.
    pub(crate) fn named(self, alias: &'static str) -> Rows {
        Rows {
            alias,
            columns: self.columns,
        }
    }
}

/// A [`Table`] as it is said in `FROM`.
pub(crate) struct Rows {
    alias: &'static str,
    columns: Vec<Column>,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alias = self.alias;
        let arrays = || self.columns.iter().filter(|column| !column.is_same);
        let mut between = Between::default();
        f.write_str("(SELECT ")?;
        for Column {
            name,
            of,
            value,
            is_same,
        } in &self.columns
        {
            between.write(f)?;
            if *is_same {
                write!(f, "{value}::{of} AS {name}")?;
            } else {
                write!(f, "a.{name}")?;
            }
        }
        if arrays().next().is_some() {
            f.write_str(" FROM unnest(")?;
            let mut between = Between::default();
            for Column { of, value, .. } in arrays() {
                between.write(f)?;
                write!(f, "{value}::{of}[]")?;
            }
            f.write_str(") a(")?;
            let mut between = Between::default();
            for Column { name, .. } in arrays() {
                between.write(f)?;
                f.write_str(name)?;
            }
            f.write_str(")")?;
        }
        write!(f, ") {alias}")
    }
}

/// Writes a comma, from the second time on.
#[derive(Default)]
struct Between(bool);

impl Between {
    fn write(&mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if std::mem::replace(&mut self.0, true) {
            f.write_str(", ")?;
        }
        Ok(())
    }
}
