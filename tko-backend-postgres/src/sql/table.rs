//! Tables of values.

use super::values::bind;
use sqlx::postgres::{PgArguments, PgHasArrayType};
use sqlx::{Encode, Postgres, Type, TypeInfo};
use std::fmt::{self, Write as _};

/// Rows that are bound column by column, for use in `FROM`.
///
/// Several rows are arrays, which a function expands. A single row is plain values: it adds nothing
/// to the plan.
pub(crate) struct SqlTable<'a> {
    values: &'a mut PgArguments,
    is_single: bool,
    /// The select list.
    columns: String,
    /// The arrays, and their names.
    arrays: String,
    names: String,
}

impl<'a> SqlTable<'a> {
    pub(super) fn new(values: &'a mut PgArguments, is_single: bool) -> Self {
        Self {
            values,
            is_single,
            columns: String::new(),
            arrays: String::new(),
            names: String::new(),
        }
    }

    /// Adds a column with a value for each row.
    pub(crate) fn column<'q, T>(self, name: &'static str, values: Vec<T>) -> sqlx::Result<Self>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'q,
        Vec<T>: Encode<'q, Postgres>,
    {
        self.cast(name, T::type_info().name(), values)
    }

    /// Adds a column of the SQL type `of` with a value for each row.
    pub(crate) fn cast<'q, T>(
        mut self,
        name: &'static str,
        of: &str,
        mut values: Vec<T>,
    ) -> sqlx::Result<Self>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType + 'q,
        Vec<T>: Encode<'q, Postgres>,
    {
        if self.is_single
            && let Some(value) = values.pop()
        {
            return self.value(name, of, value);
        }
        let values = bind(self.values, values)?;
        add(&mut self.columns, format_args!("a.{name}"));
        add(&mut self.arrays, format_args!("{values}::{of}[]"));
        add(&mut self.names, format_args!("{name}"));
        Ok(self)
    }

    /// Adds a column with the same value in all rows.
    pub(crate) fn constant<'q, T>(self, name: &'static str, value: T) -> sqlx::Result<Self>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        self.value(name, T::type_info().name(), value)
    }

    fn value<'q, T>(mut self, name: &'static str, of: &str, value: T) -> sqlx::Result<Self>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        let value = bind(self.values, value)?;
        add(&mut self.columns, format_args!("{value}::{of} AS {name}"));
        Ok(self)
    }

    /// Adds the columns `kind` and `id`.
    pub(crate) fn keys(self, (kinds, ids): (Vec<i16>, Vec<String>)) -> sqlx::Result<Self> {
        self.column("kind", kinds)?.column("id", ids)
    }

    /// Returns the table as an item of `FROM`.
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
    list.write_fmt(item)
        .expect("writing to a string does not fail");
}
