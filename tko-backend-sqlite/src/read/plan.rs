//! Query planning: the postings to read for a selection.
//!
//! Each condition of a [`Select`] that the index knows gives a candidate: the terms whose postings
//! together contain every row that may match. The candidate with the fewest entries is read, its
//! postings merged in key order, and each row is then checked against the whole selection. Sizes
//! are counted up to a bound, so that planning has a bounded cost.

use crate::connect::SqliteFile;
use crate::facet::{RowFacet, unfinished};
use crate::fault::SqlResult;
use sqlx::{Row, SqliteConnection};
use tko_core::select::MetadataPatterns;
use tko_core::{DeploymentId, Key, Kind, Pattern, PluginId, PluginType, Result, Select};

/// Maximum number of terms that are merged; a candidate with more is not considered.
const MAX_WIDTH: i64 = 4_096;

/// The bound up to which sizes are counted.
const MAX_SIZE: i64 = 4_096;

/// The ids that a selection allows.
#[derive(Clone, Debug)]
pub(super) enum IdScope {
    /// Exactly these ids, in order.
    Among(Vec<String>),
    /// All ids with this prefix, which may be empty.
    Prefix(String),
}

/// The terms of the rows that may match one condition.
#[derive(Clone, Debug)]
struct TermCandidate {
    terms: Vec<i64>,
    /// Whether the terms contain exactly the rows that match, each once.
    exact: bool,
}

/// The way to answer one selection.
#[derive(Debug)]
pub(super) struct TermPlan {
    pub(super) kind: Kind,
    pub(super) ids: IdScope,
    /// The terms to read; `None` reads all rows of the kind.
    pub(super) terms: Option<Vec<i64>>,
    /// Whether `terms` or the kind alone determines the matches, except for rows that are being
    /// deleted.
    pub(super) exact: bool,
}

impl TermPlan {
    /// Plans a selection.
    pub(super) async fn new(
        connection: &mut SqliteConnection,
        file: &SqliteFile,
        select: &Select,
    ) -> Result<Self> {
        let fault = file.fault("plan a listing");
        let mut index = TermIndex { connection };
        let (conditions, candidates) = candidates(&mut index, select).await.map_err(&fault)?;
        let ids = ids(select);
        let no_ids = select.ids.is_empty();
        let mut plan = Self {
            kind: select.kind,
            ids,
            terms: None,
            exact: no_ids && conditions == 0,
        };
        let mut best: Option<(i64, TermCandidate)> = None;
        let is_only = candidates.len() == 1;
        for candidate in candidates {
            let size = match candidate.terms.len() {
                0 => 0,
                1 if is_only => 1,
                _ => index.size(&candidate.terms).await.map_err(&fault)?,
            };
            let width = i64::try_from(candidate.terms.len()).unwrap_or(i64::MAX);
            let cost = size.saturating_add(width);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, candidate));
            }
        }
        if let Some((cost, best)) = best {
            let narrow = match &plan.ids {
                IdScope::Among(_) => true,
                IdScope::Prefix(prefix) if prefix.is_empty() => false,
                IdScope::Prefix(prefix) => {
                    let rows = index.rows(plan.kind, prefix, cost).await;
                    rows.map_err(&fault)? < cost
                }
            };
            if !narrow || best.terms.is_empty() {
                plan.exact = no_ids && conditions == 1 && best.exact;
                plan.terms = Some(best.terms);
            }
        }
        Ok(plan)
    }
}

/// Looks up terms.
struct TermIndex<'a> {
    connection: &'a mut SqliteConnection,
}

impl TermIndex<'_> {
    /// The term of this value.
    async fn exactly(
        &mut self,
        kind: Kind,
        facet: RowFacet,
        name: &str,
        value: &str,
    ) -> SqlResult<Option<i64>> {
        sqlx::query_scalar(
            "SELECT num FROM term WHERE kind = $1 AND facet = $2 AND name = $3 AND value = $4",
        )
        .bind(kind as i64)
        .bind(facet as i64)
        .bind(name.as_bytes().to_vec())
        .bind(value.as_bytes().to_vec())
        .fetch_optional(&mut *self.connection)
        .await
    }

    /// The terms whose value matches all patterns; `None` if too many must be checked.
    async fn matching(
        &mut self,
        kind: Kind,
        facet: RowFacet,
        name: &str,
        patterns: &[Pattern],
    ) -> SqlResult<Option<Vec<i64>>> {
        let all_match = |value: &str| patterns.iter().all(|pattern| pattern.matches(value));
        if let Some(literal) = patterns.iter().find_map(Pattern::as_literal) {
            if !all_match(literal) {
                return Ok(Some(Vec::new()));
            }
            let term = self.exactly(kind, facet, name, literal).await?;
            return Ok(Some(term.into_iter().collect()));
        }
        let prefix = longest_prefix(patterns).as_bytes();
        let rows = sqlx::query(
            "SELECT num, value FROM term WHERE kind = $1 AND facet = $2 AND name = $3 \
             AND value >= $4 AND ($5 IS NULL OR value < $5) ORDER BY value LIMIT $6",
        )
        .bind(kind as i64)
        .bind(facet as i64)
        .bind(name.as_bytes().to_vec())
        .bind(prefix.to_vec())
        .bind(after_prefix(prefix))
        .bind(MAX_WIDTH + 1)
        .fetch_all(&mut *self.connection)
        .await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) > MAX_WIDTH {
            return Ok(None);
        }
        let mut terms = Vec::new();
        for row in rows {
            let value: &[u8] = row.try_get(1)?;
            if std::str::from_utf8(value).is_ok_and(all_match) {
                terms.push(row.try_get(0)?);
            }
        }
        Ok(Some(terms))
    }

    /// The number of entries of these terms, up to a bound.
    async fn size(&mut self, terms: &[i64]) -> SqlResult<i64> {
        sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT 1 FROM json_each($1) j \
             CROSS JOIN posting p ON p.term = j.value LIMIT $2)",
        )
        .bind(terms_argument(terms))
        .bind(MAX_SIZE)
        .fetch_one(&mut *self.connection)
        .await
    }

    /// The number of rows whose ids have a prefix, up to a bound.
    async fn rows(&mut self, kind: Kind, prefix: &str, bound: i64) -> SqlResult<i64> {
        sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT 1 FROM entity \
             WHERE kind = $1 AND id >= $2 AND id < $3 LIMIT $4)",
        )
        .bind(kind as i64)
        .bind(prefix.to_owned())
        .bind(end_of(prefix))
        .bind(bound)
        .fetch_one(&mut *self.connection)
        .await
    }

    /// The terms of rows that name a row of another kind with matching metadata; `None` if too
    /// many rows of that kind must be checked.
    async fn joined(
        &mut self,
        facet: RowFacet,
        of: Kind,
        patterns: &MetadataPatterns,
    ) -> SqlResult<Option<Vec<i64>>> {
        let mut fewest: Option<Vec<i64>> = None;
        for (name, pattern) in patterns {
            let pattern = std::slice::from_ref(pattern);
            let terms = self.matching(of, RowFacet::Metadata, name, pattern).await?;
            if let Some(terms) = terms
                && fewest.as_ref().is_none_or(|few| terms.len() < few.len())
            {
                fewest = Some(terms);
            }
        }
        let Some(terms) = fewest else { return Ok(None) };
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT t.num FROM json_each($1) j CROSS JOIN posting p ON p.term = j.value \
             CROSS JOIN term t ON t.kind = $2 AND t.facet = $3 AND t.name = x'' \
             AND t.value = CAST(p.id AS BLOB) LIMIT $4",
        )
        .bind(terms_argument(&terms))
        .bind(Kind::Deployment as i64)
        .bind(facet as i64)
        .bind(MAX_WIDTH + 1)
        .fetch_all(&mut *self.connection)
        .await?;
        let few = i64::try_from(ids.len()).unwrap_or(i64::MAX) <= MAX_WIDTH;
        Ok(few.then_some(ids))
    }
}

/// The number of conditions besides ids, and the candidates among them.
async fn candidates(
    index: &mut TermIndex<'_>,
    select: &Select,
) -> SqlResult<(usize, Vec<TermCandidate>)> {
    let kind = select.kind;
    let mut conditions = 0;
    let mut found = Vec::new();
    let mut add = |terms: Option<Vec<i64>>, exact: bool| {
        conditions += 1;
        found.extend(terms.map(|terms| TermCandidate { terms, exact }));
    };
    for (name, pattern) in &select.metadata {
        let pattern = std::slice::from_ref(pattern);
        add(
            index
                .matching(kind, RowFacet::Metadata, name, pattern)
                .await?,
            true,
        );
    }
    for (facet, patterns) in [
        (RowFacet::Template, &select.template_ids),
        (RowFacet::Site, &select.site_ids),
    ] {
        if !patterns.is_empty() {
            add(index.matching(kind, facet, "", patterns).await?, true);
        }
    }
    let trigger = select.trigger.as_ref().map(ToString::to_string);
    for (facet, value, exact) in [
        (
            RowFacet::Parent,
            select.parent.as_ref().map(DeploymentId::as_str),
            true,
        ),
        (
            RowFacet::PluginType,
            select.plugin_type.map(PluginType::as_str),
            true,
        ),
        (RowFacet::Executor, select.executor.as_deref(), true),
        // Different triggers may have the same text.
        (RowFacet::Trigger, trigger.as_deref(), false),
    ] {
        if let Some(value) = value {
            let term = index.exactly(kind, facet, "", value).await?;
            add(Some(term.into_iter().collect()), exact);
        }
    }
    if let Some(site) = &select.concerning {
        let mut terms = Vec::new();
        for facet in [RowFacet::Site, RowFacet::Elsewhere] {
            terms.extend(index.exactly(kind, facet, "", site.as_str()).await?);
        }
        add(Some(terms), false);
    }
    if select.prepared.is_some() || select.approved.is_some() {
        let terms = match states(select.prepared, select.approved) {
            Some(states) => {
                let mut terms = Vec::new();
                for state in states {
                    terms.extend(index.exactly(kind, RowFacet::Unfinished, "", state).await?);
                }
                Some(terms)
            }
            None => None,
        };
        add(terms, true);
    }
    for (facet, of, patterns) in [
        (
            RowFacet::Template,
            Kind::Template,
            &select.template_metadata,
        ),
        (RowFacet::Site, Kind::Site, &select.site_metadata),
    ] {
        if !patterns.is_empty() {
            let terms = match kind {
                Kind::Deployment => index.joined(facet, of, patterns).await?,
                _ => Some(Vec::new()),
            };
            add(terms, false);
        }
    }
    Ok((conditions, found))
}

/// The states that a selection allows; `None` if finished deployments are among them, which the
/// index does not have.
fn states(prepared: Option<bool>, approved: Option<bool>) -> Option<Vec<&'static str>> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .filter(|(is_prepared, is_approved)| {
            prepared.is_none_or(|wanted| wanted == *is_prepared)
                && approved.is_none_or(|wanted| wanted == *is_approved)
        })
        .map(|(prepared, approved)| unfinished(prepared, approved))
        .collect()
}

/// The ids that the patterns allow. A literal that is not a valid id matches nothing.
fn ids(select: &Select) -> IdScope {
    if let Some(literal) = select.ids.iter().find_map(Pattern::as_literal) {
        let mut ids = Vec::new();
        if select.kind == Kind::Plugin {
            for plugin in PluginType::ALL {
                let id = PluginId::new(plugin, literal).ok();
                ids.extend(id.map(|id| id.as_str().to_owned()));
            }
            ids.sort();
        } else if Key::new(select.kind, literal).is_ok() {
            ids.push(literal.to_owned());
        }
        return IdScope::Among(ids);
    }
    // A pattern for plugins matches the name, but the id of a plugin does not start with its name.
    if select.kind == Kind::Plugin {
        return IdScope::Prefix(String::new());
    }
    let prefix = longest_prefix(&select.ids);
    if !prefix.is_empty() && Key::new(select.kind, prefix).is_err() {
        return IdScope::Among(Vec::new());
    }
    IdScope::Prefix(prefix.to_owned())
}

fn longest_prefix(patterns: &[Pattern]) -> &str {
    patterns
        .iter()
        .map(Pattern::literal_prefix)
        .max_by_key(|prefix| prefix.len())
        .unwrap_or_default()
}

/// The first bytes that are after all bytes with this prefix; `None` if there are none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// A text that is after all ids with this prefix: ids are ASCII and have no control characters.
pub(super) fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

/// Terms as an argument of a statement.
pub(super) fn terms_argument(terms: &[i64]) -> String {
    let terms: Vec<String> = terms.iter().map(i64::to_string).collect();
    format!("[{}]", terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::{after_prefix, states};

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn finished_deployments_are_not_in_the_index() {
        assert_eq!(states(Some(true), None), None);
        assert_eq!(states(Some(true), Some(false)), Some(vec!["prepared"]));
        assert_eq!(states(Some(false), None), Some(vec!["new", "approved"]));
    }
}
