//! Conversions of prepare steps and schedule steps.

use super::change::{pack_deployment, pack_site, unpack_deployment, unpack_site};
use super::entity::{pack_condition, unpack_conditions};
use super::scalar::{
    generation, gvk, identifier, key, kind, required, required_key, unpack_gvk, unpack_identifier,
    unpack_key, unpack_kind,
};
use super::select::value_patterns;
use super::table::{Packer, Unpacker};
use super::work::{pack_outcome, pack_progress, unpack_outcome, unpack_progress};
use crate::proto::v1alpha2 as wire;
use tko_core::api::MAX_EFFECTS;
use tko_core::{
    Condition, Effect, Error, Key, Limits, PrepareStep, Result, ScheduleStep, SiteScheduler,
    Subscription, Token,
};

pub(crate) fn pack_prepared(token: &Token, step: &PrepareStep) -> wire::CommitPreparedRequest {
    let mut table = Packer::default();
    let package = step.package.as_ref().map(|package| table.add(package));
    let effects = step
        .effects
        .iter()
        .map(|effect| pack_effect(effect, &mut table))
        .collect();
    wire::CommitPreparedRequest {
        token: token.encode(),
        deployment: step.deployment.to_string(),
        expect: step.expect.0,
        package,
        effects,
        conditions: step.conditions.iter().map(pack_condition).collect(),
        interests: step.subscriptions.as_ref().map(|all| {
            wire::commit_prepared_request::Interests {
                interests: all.iter().map(pack_interest).collect(),
            }
        }),
        progress: step.progress.as_ref().map(pack_progress),
        settle: step.settle.as_ref().map(pack_outcome),
        packages: table.finish(),
    }
}

/// The token of the lease, and the step.
pub(crate) fn unpack_prepared(
    request: wire::CommitPreparedRequest,
    limits: &Limits,
) -> Result<(Token, PrepareStep)> {
    if request.effects.len() > MAX_EFFECTS {
        return Err(Error::bad(
            "effects",
            format!(
                "there are {} effects; a step has at most {MAX_EFFECTS}",
                request.effects.len()
            ),
        ));
    }
    let table = Unpacker::new(&request.packages, limits)?;
    let step = PrepareStep::new(request.deployment.parse()?, generation(request.expect))
        .package(table.maybe(request.package)?)
        .effects(
            request
                .effects
                .into_iter()
                .map(|effect| unpack_effect(effect, &table))
                .collect::<Result<_>>()?,
        )
        .conditions(unpack_conditions(request.conditions)?)
        .subscriptions(
            request
                .interests
                .map(|all| all.interests.iter().map(unpack_interest).collect())
                .transpose()?,
        )
        .progress(
            request
                .progress
                .as_deref()
                .map(unpack_progress)
                .transpose()?,
        )
        .settle(request.settle.map(unpack_outcome).transpose()?);
    Ok((Token::decode(&request.token)?, step))
}

pub(crate) fn pack_placed(token: &Token, step: &ScheduleStep) -> wire::CommitPlacedRequest {
    use wire::commit_placed_request::{Conditions, There};
    wire::CommitPlacedRequest {
        token: token.encode(),
        there: step
            .placed
            .iter()
            .map(|(deployment, generation)| There {
                deployment: deployment.to_string(),
                generation: generation.0,
            })
            .collect(),
        gone: step.removed.iter().map(ToString::to_string).collect(),
        conditions: step
            .conditions
            .iter()
            .map(|(of, conditions)| Conditions {
                key: Some(key(of)),
                conditions: conditions.iter().map(pack_condition).collect(),
            })
            .collect(),
        settle: step.settle.as_ref().map(pack_outcome),
        called: step.called.iter().map(pack_scheduler).collect(),
        forgotten: step.forgotten.iter().map(pack_scheduler).collect(),
        expect: step.expect.map(|expect| expect.0),
    }
}

fn pack_scheduler(of: &SiteScheduler) -> wire::commit_placed_request::SiteScheduler {
    wire::commit_placed_request::SiteScheduler {
        name: of.name.clone(),
        target: of.target.as_ref().map(identifier),
    }
}

fn unpack_scheduler(of: wire::commit_placed_request::SiteScheduler) -> SiteScheduler {
    SiteScheduler::new(of.name).target(of.target.map(unpack_identifier))
}

/// The token of the lease, and the step.
pub(crate) fn unpack_placed(request: wire::CommitPlacedRequest) -> Result<(Token, ScheduleStep)> {
    let step = ScheduleStep::new()
        .all_placed(
            request
                .there
                .into_iter()
                .map(|there| Ok((there.deployment.parse()?, generation(there.generation))))
                .collect::<Result<Vec<_>>>()?,
        )
        .all_removed(
            request
                .gone
                .iter()
                .map(|deployment| deployment.parse())
                .collect::<Result<Vec<_>>>()?,
        )
        .all_conditions(
            request
                .conditions
                .into_iter()
                .map(|of| {
                    Ok((
                        required_key(of.key.as_ref())?,
                        unpack_conditions(of.conditions)?,
                    ))
                })
                .collect::<Result<Vec<_>>>()?,
        )
        .all_called(request.called.into_iter().map(unpack_scheduler))
        .all_forgotten(request.forgotten.into_iter().map(unpack_scheduler))
        .expect(request.expect.map(generation))
        .settle(request.settle.map(unpack_outcome).transpose()?);
    Ok((Token::decode(&request.token)?, step))
}

pub(crate) fn pack_report(of: &Key, conditions: &[Condition]) -> wire::ReportRequest {
    wire::ReportRequest {
        key: Some(key(of)),
        conditions: conditions.iter().map(pack_condition).collect(),
    }
}

pub(crate) fn unpack_report(request: wire::ReportRequest) -> Result<(Key, Vec<Condition>)> {
    Ok((
        required_key(request.key.as_ref())?,
        unpack_conditions(request.conditions)?,
    ))
}

fn pack_effect(effect: &Effect, table: &mut Packer) -> wire::Effect {
    use wire::effect::Effect as Packed;
    wire::Effect {
        effect: Some(match effect {
            Effect::Deployment(new) => Packed::Deployment(pack_deployment(new, table)),
            Effect::Site(new) => Packed::Site(pack_site(new, table)),
            Effect::Delete(id) => Packed::Delete(id.to_string()),
        }),
    }
}

fn unpack_effect(effect: wire::Effect, table: &Unpacker) -> Result<Effect> {
    use wire::effect::Effect as Packed;
    Ok(match required("effect", effect.effect)? {
        Packed::Deployment(new) => Effect::Deployment(unpack_deployment(new, table)?),
        Packed::Site(new) => Effect::Site(unpack_site(new, table)?),
        Packed::Delete(id) => Effect::Delete(id.parse()?),
    })
}

fn pack_interest(interest: &Subscription) -> wire::Interest {
    use wire::interest::{Interest as Packed, Selection};
    wire::Interest {
        interest: Some(match interest {
            Subscription::Entity(of) => Packed::Entity(key(of)),
            Subscription::Preparer(of) => Packed::Preparer(gvk(of)),
            Subscription::Selection {
                kind: of,
                metadata,
                persistent,
            } => Packed::Selection(Selection {
                kind: kind(*of).into(),
                metadata: metadata
                    .iter()
                    .map(|(key, pattern)| (key.clone(), pattern.as_str().to_owned()))
                    .collect(),
                lasting: *persistent,
            }),
        }),
    }
}

fn unpack_interest(interest: &wire::Interest) -> Result<Subscription> {
    use wire::interest::Interest as Packed;
    Ok(match required("interest", interest.interest.as_ref())? {
        Packed::Entity(of) => Subscription::Entity(unpack_key(of)?),
        Packed::Preparer(of) => Subscription::Preparer(unpack_gvk(of)),
        Packed::Selection(selection) => Subscription::Selection {
            kind: unpack_kind(selection.kind)?,
            metadata: value_patterns("metadata pattern", &selection.metadata)?,
            persistent: selection.lasting,
        },
    })
}
