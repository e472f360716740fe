//! Filters for deployments by the metadata of their templates and sites.

use super::record::FoundEntity;
use crate::codes::kind_number;
use crate::columns::RowColumns;
use crate::fault::fault;
use crate::metrics::{Instrument, Purpose, StatementMetrics};
use crate::row::{COLUMNS, EntityRow, RowDecoder};
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::{BTreeSet, HashMap};
use tko_core::select::{MetadataPatterns, metadata_match};
use tko_core::{Entity, Kind, Result, Select, SiteId, TemplateId};

/// The filter for templates, or for sites.
pub(super) struct RelationFilter<'a> {
    pub(super) kind: Kind,
    pub(super) patterns: &'a MetadataPatterns,
    /// By id, whether its metadata match.
    pub(super) known: HashMap<String, bool>,
    /// Whether `known` contains every match.
    pub(super) is_complete: bool,
}

impl RelationFilter<'_> {
    /// The id of the template or site of a deployment.
    fn of<'r>(&self, entity: &'r Entity) -> Option<&'r str> {
        match self.kind {
            Kind::Template => entity.template().map(TemplateId::as_str),
            _ => entity.deployment()?.site.as_ref().map(SiteId::as_str),
        }
    }

    /// Matches the templates or sites of these rows.
    async fn learn(
        &mut self,
        metrics: &StatementMetrics,
        connection: &mut PgConnection,
        rows: &[FoundEntity],
    ) -> Result<()> {
        if self.is_complete {
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
            .bind(kind_number(self.kind))
            .bind(&unknown)
            .fetch_all(connection)
            .sent(metrics, Purpose::ReadNamed)
            .await?;
        self.known.extend(unknown.into_iter().map(|id| (id, false)));
        let broken = fault("decode templates and sites");
        let mut decoder = RowDecoder::default();
        for row in &rows {
            let row = EntityRow::read(&mut RowColumns::of(row, 0)).map_err(&broken)?;
            let (entity, _) = row.entity(&mut decoder)?;
            let matches = metadata_match(self.patterns, &entity.metadata);
            self.known.insert(entity.key.id().to_owned(), matches);
        }
        Ok(())
    }
}

/// The filters of a selection for metadata of templates and sites.
pub(super) struct RelationFilters<'a>(pub(super) Vec<RelationFilter<'a>>);

impl<'a> RelationFilters<'a> {
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
            .map(|(kind, patterns)| RelationFilter {
                kind,
                patterns,
                known: HashMap::new(),
                is_complete: false,
            });
        Self(sides.collect())
    }

    /// Matches the templates and sites of these rows.
    pub(super) async fn learn(
        &mut self,
        metrics: &StatementMetrics,
        connection: &mut PgConnection,
        rows: &[FoundEntity],
    ) -> Result<()> {
        for side in &mut self.0 {
            side.learn(metrics, connection, rows).await?;
        }
        Ok(())
    }

    /// Whether the template and the site of a deployment match.
    pub(super) fn matches(&self, entity: &Entity) -> bool {
        self.0.iter().all(|side| {
            side.of(entity)
                .is_some_and(|id| side.known.get(id).copied().unwrap_or(false))
        })
    }
}
