//! Claims: the backend chooses, and the model checks the choice.

use super::compare;
use super::pair::BackendPair;
use crate::explore::ensure;
use crate::reference::DueWork;
use std::collections::BTreeSet;
use tko_core::{Claim, ClaimRequest, Key, Lane};

impl BackendPair {
    /// Checks that the model allows these claims, then makes the same in the model.
    pub(super) async fn claimed(
        &mut self,
        request: &ClaimRequest,
        claims: Vec<Claim>,
    ) -> Result<(), String> {
        let due = self.model.due(request.stage, self.now);
        allowed(request, &claims, &due)?;
        let now = self.times().await;
        for claim in claims {
            let key = &claim.work.key;
            let model = self
                .model
                .lease(request.stage, key, request.lease, self.now);
            compare::works(&claim.work, &model.work, now)?;
            ensure!(
                compare::times(claim.until, model.until, now),
                "{key}: the lease expires at another time"
            );
            self.tokens.push((claim.token, model.token));
        }
        Ok(())
    }
}

/// Checks the choice: lanes in turn, earliest first in a lane, abandoned work alone.
fn allowed(request: &ClaimRequest, claims: &[Claim], due: &[DueWork]) -> Result<(), String> {
    let mut taken: BTreeSet<&Key> = BTreeSet::new();
    for claim in claims {
        let key = &claim.work.key;
        ensure!(taken.insert(key), "{key} is leased twice");
        ensure!(
            due.iter().any(|asked| asked.key == *key),
            "{key} is not due, but was leased"
        );
    }
    ensure!(claims.len() <= request.max, "more than {}", request.max);
    ensure!(
        !claims.is_empty() || due.is_empty(),
        "due, but not leased: {due:?}"
    );
    let (taken, left): (Vec<&DueWork>, Vec<&DueWork>) =
        due.iter().partition(|asked| taken.contains(&asked.key));
    let alone = taken.iter().any(|asked| asked.alone);
    ensure!(!alone || taken.len() == 1, "not alone: {taken:?}");
    if due.iter().any(|asked| asked.attempts >= Lane::PATIENCE) {
        // Abandoned work may be claimed alone, before or after the rest.
        return Ok(());
    }
    ensure!(
        left.is_empty() || taken.len() == request.max,
        "there is room, but {left:?} are left"
    );
    let of_lane = |lane: Lane| taken.iter().filter(move |asked| asked.lane == lane);
    let most = taken.iter().map(|asked| of_lane(asked.lane).count()).max();
    for waiting in left {
        let mut sooner = of_lane(waiting.lane);
        ensure!(
            sooner.all(|asked| asked.since <= waiting.since),
            "{waiting:?} was due earlier than what was leased of its lane: {taken:?}"
        );
        ensure!(
            of_lane(waiting.lane).count() + 1 >= most.unwrap_or(0),
            "the lane of {waiting:?} did not get its turn: {taken:?}"
        );
    }
    Ok(())
}
