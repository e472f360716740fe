//! The schema of the file, and its migrations.
//!
//! `PRAGMA application_id` says that a file belongs to TKO, and `PRAGMA user_version` which
//! migrations it has. So a file of another program is never touched, and neither is the file of a
//! later version of TKO.

use crate::fault::SqlResult;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use tko_core::{Error, Result};

/// `TKO1` in ASCII.
const APPLICATION: i64 = 0x544b_4f31;

/// The migrations in order. Published ones never change.
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/0001_entities.sql"),
    include_str!("../migrations/0002_clustered.sql"),
    include_str!("../migrations/0003_shared_value.sql"),
];

/// The state of a file before migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchemaState {
    application: i64,
    version: i64,
    tables: i64,
}

impl SchemaState {
    pub(crate) async fn read(connection: &mut SqliteConnection) -> SqlResult<Self> {
        let row = sqlx::query(
            "SELECT (SELECT application_id FROM pragma_application_id), \
             (SELECT user_version FROM pragma_user_version), \
             (SELECT count(*) FROM sqlite_schema)",
        )
        .fetch_one(connection)
        .await?;
        Ok(Self {
            application: row.try_get(0)?,
            version: row.try_get(1)?,
            tables: row.try_get(2)?,
        })
    }

    /// Whether the file is empty.
    pub(crate) fn is_new(self) -> bool {
        self.version == 0
    }

    /// Whether the file has all migrations.
    ///
    /// # Errors
    /// `BadArgument`: it belongs to another program, or to a later version of this one.
    pub(crate) fn is_current(self) -> Result<bool> {
        if self.application != APPLICATION {
            if self.application == 0 && self.version == 0 && self.tables == 0 {
                return Ok(false);
            }
            return Err(Error::bad(
                "backend",
                "the file is a database of another program; choose another path",
            ));
        }
        let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if self.version > newest {
            return Err(Error::bad(
                "backend",
                format!(
                    "the file has schema version {}, and this program knows versions up to {newest}; \
                     use a newer version of tko",
                    self.version
                ),
            ));
        }
        Ok(self.version == newest)
    }
}

/// Applies the missing migrations in one transaction, which the caller has begun.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    state: SchemaState,
) -> SqlResult<()> {
    let applied = usize::try_from(state.version).unwrap_or(0);
    for migration in &MIGRATIONS[applied..] {
        sqlx::raw_sql(*migration).execute(&mut *connection).await?;
    }
    let pragmas = format!(
        "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {};",
        MIGRATIONS.len()
    );
    sqlx::raw_sql(AssertSqlSafe(pragmas))
        .execute(connection)
        .await?;
    Ok(())
}
