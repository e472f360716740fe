//! The parts that update the index of metadata.

use super::plan::WritePlan;
use crate::codes::kind_number;
use crate::facet::{FacetPairs, difference};
use crate::sql::SqlBuilder;
use tko_core::Key;

/// Adds the parts that remove and add pairs.
pub(super) fn write(plan: &WritePlan<'_>, sql: &mut SqlBuilder) -> sqlx::Result<()> {
    let (mut added, mut removed) = (FacetRows::default(), FacetRows::default());
    for step in &plan.staged.steps {
        let before = step.before.map(|found| &found.entity.metadata);
        let after = step.after.as_ref().map(|entity| &entity.metadata);
        let (more, less) = difference(before, after);
        added.extend(step.key(), more);
        removed.extend(step.key(), less);
    }
    if !removed.0.is_empty() {
        let rows = removed.bind(sql)?;
        sql.with(
            "less_facets",
            format_args!(
                "DELETE FROM facet f USING s CROSS JOIN {rows} \
                 WHERE f.kind = r.kind AND f.key = r.key AND f.value = r.value AND f.id = r.id"
            ),
        );
    }
    if !added.0.is_empty() {
        let rows = added.bind(sql)?;
        sql.with(
            "more_facets",
            format_args!(
                "INSERT INTO facet (kind, key, value, id) \
                 SELECT r.kind, r.key, r.value, r.id FROM s CROSS JOIN {rows}"
            ),
        );
    }
    Ok(())
}

/// Rows of the table `facet`: kind, key, value, and id.
#[derive(Default)]
struct FacetRows(Vec<(i16, String, String, String)>);

impl FacetRows {
    fn extend(&mut self, of: &Key, facets: FacetPairs) {
        let rows = facets
            .into_iter()
            .map(|(key, value)| (kind_number(of.kind()), key, value, of.id().to_owned()));
        self.0.extend(rows);
    }

    fn bind(mut self, sql: &mut SqlBuilder) -> sqlx::Result<String> {
        // In the order of the index. PostgreSQL then treats the entries as an ascending sequence,
        // and leaves the pages that it splits full. Also, two transactions with the same pairs
        // cannot deadlock.
        self.0.sort_unstable();
        let count = self.0.len();
        let is_of_one = self.0.windows(2).all(|pair| {
            let [(kind, .., id), (next_kind, .., next_id)] = pair else {
                return false;
            };
            kind == next_kind && id == next_id
        });
        let (mut kinds, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut values, mut ids) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (kind, key, value, id) in self.0 {
            kinds.push(kind);
            keys.push(key);
            values.push(value);
            ids.push(id);
        }
        let rows = sql
            .table(count)
            .column("key", keys)?
            .column("value", values)?;
        let rows = if is_of_one && let Some((kind, id)) = kinds.pop().zip(ids.pop()) {
            let rows = rows.constant("kind", kind)?;
            rows.constant("id", id)?
        } else {
            let rows = rows.column("kind", kinds)?;
            rows.column("id", ids)?
        };
        Ok(rows.named("r"))
    }
}
