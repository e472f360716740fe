//! Deployments by what their templates and sites have.

use super::found::Found;
use super::plan::{Driver, Index, MAX_VALUES, Plan, Values};
use super::walk::Walk;
use crate::columns::Columns;
use crate::fault::fault;
use crate::metrics::{Measures, Purpose, Sending};
use crate::row::{Before, COLUMNS, Row, number};
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::{BTreeSet, HashMap};
use tko_core::select::{MetadataPatterns, metadata_match};
use tko_core::{Entity, Kind, Result, Select, SiteId, TemplateId};

/// Most templates or sites that are found out beforehand.
const MAX_JOINED: usize = 4_096;

/// One side: templates, or sites.
struct Side<'a> {
    kind: Kind,
    patterns: &'a MetadataPatterns,
    /// Whether those that were looked at match.
    known: HashMap<String, bool>,
    /// What is not known does not match.
    complete: bool,
}

impl Side<'_> {
    fn of<'r>(&self, entity: &'r Entity) -> Option<&'r str> {
        match self.kind {
            Kind::Template => entity.template().map(TemplateId::as_str),
            _ => entity.deployment()?.site.as_ref().map(SiteId::as_str),
        }
    }

    /// Finds out which match, if they are few enough, by listing them.
    async fn resolve(&mut self, measures: &Measures, connection: &mut PgConnection) -> Result<()> {
        let select = Select {
            metadata: self.patterns.clone(),
            deleting: true,
            ..Select::all(self.kind)
        };
        let mut walk = Walk::new(measures, &select, MAX_JOINED + 1);
        let found = walk.collect(connection, &mut Joins::none()).await?;
        if walk.is_at_end() && found.len() <= MAX_JOINED {
            self.known = found
                .into_iter()
                .map(|f| (f.id().to_owned(), true))
                .collect();
            self.complete = true;
        }
        Ok(())
    }

    /// Looks at those that these rows name.
    async fn learn(
        &mut self,
        measures: &Measures,
        connection: &mut PgConnection,
        rows: &[Found],
    ) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        let unknown: BTreeSet<&str> = rows
            .iter()
            .filter_map(|found| self.of(&found.entity))
            .filter(|id| !self.known.contains_key(*id))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
        let sql = format!("SELECT {COLUMNS} FROM entity e WHERE e.kind = $1 AND e.id = ANY($2)");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(number(self.kind))
            .bind(&unknown)
            .fetch_all(connection)
            .sent(measures, Purpose::ReadNamed)
            .await?;
        self.known.extend(unknown.into_iter().map(|id| (id, false)));
        let broken = fault("decode what deployments name");
        let mut before = Before::default();
        for row in &rows {
            let row = Row::read(&mut Columns::of(row, 0)).map_err(&broken)?;
            let (entity, _) = row.entity(&mut before)?;
            let matches = metadata_match(self.patterns, &entity.metadata);
            self.known.insert(entity.key.id().to_owned(), matches);
        }
        Ok(())
    }
}

/// What a selection says of templates' and sites' metadata.
pub(super) struct Joins<'a>(Vec<Side<'a>>);

impl<'a> Joins<'a> {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn of(select: &'a Select) -> Self {
        let sides = [
            (Kind::Template, &select.template_metadata),
            (Kind::Site, &select.site_metadata),
        ];
        let sides = sides
            .into_iter()
            .filter(|(_, patterns)| !patterns.is_empty())
            .map(|(kind, patterns)| Side {
                kind,
                patterns,
                known: HashMap::new(),
                complete: false,
            });
        Self(sides.collect())
    }

    /// Finds out as much as is worth it, and lets it drive if that is better.
    pub(super) async fn resolve(
        &mut self,
        measures: &Measures,
        connection: &mut PgConnection,
        plan: &mut Plan,
    ) -> Result<()> {
        for side in &mut self.0 {
            side.resolve(measures, connection).await?;
            let few = i64::try_from(side.known.len()).is_ok_and(|many| many <= MAX_VALUES);
            if side.complete && few {
                let index = match side.kind {
                    Kind::Template => Index::Template,
                    _ => Index::Site,
                };
                let ids = side.known.keys().cloned().collect();
                let at = plan
                    .drivers
                    .iter()
                    .position(Driver::names_one)
                    .unwrap_or(plan.drivers.len());
                plan.drivers
                    .insert(at, Driver::Merged(index, Values::Given(ids)));
            }
        }
        Ok(())
    }

    pub(super) async fn learn(
        &mut self,
        measures: &Measures,
        connection: &mut PgConnection,
        rows: &[Found],
    ) -> Result<()> {
        for side in &mut self.0 {
            side.learn(measures, connection, rows).await?;
        }
        Ok(())
    }

    /// Whether what the row names matches.
    pub(super) fn matches(&self, entity: &Entity) -> bool {
        self.0.iter().all(|side| {
            side.of(entity)
                .is_some_and(|id| side.known.get(id).copied().unwrap_or(false))
        })
    }
}
