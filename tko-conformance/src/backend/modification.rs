//! [`Backend::start_modification`](tko_core::Backend::start_modification): a client's exclusive
//! right to write a key, for a limited time.

use super::fixture::{ALL, BackendFixture, NEARLY, TTL};
use super::sample::{
    PutBuilder, all, changes, condition, d, deployment, package, s, set, site, site_id, t, template,
};
use crate::verdict::refused;
use std::time::Duration;
use tko_core::ErrorKind::{Busy, ClaimExpired, NotFound};
use tko_core::{
    Change, ChangeSet, Error, Key, Kind, Modification, Outcome, Put, Require, Stage, Subject,
    Token, Want,
};

async fn edit(fixture: &BackendFixture, key: &Key) -> Modification {
    let edit = fixture
        .backend
        .start_modification(key, TTL, Want::PACKAGE)
        .await;
    edit.expect("the entity exists and is free")
}

fn under(token: &Token, puts: impl IntoIterator<Item = Put>) -> ChangeSet {
    set(puts).under(token.clone())
}

#[track_caller]
fn of_claim(error: &Error, key: &Key) {
    assert!(
        matches!(error, Error::NotFound(Subject::Claim(of)) if of == key),
        "it is the claim of {key} that is not found: {error:?}"
    );
}

/// A modification returns the current entity, its deadline, and a token that survives encoding as
/// text.
pub async fn a_modification_returns_the_entity(fixture: BackendFixture) {
    fixture.put([deployment("d").with_resources(&["a"])]).await;
    let now = fixture.feed_position().await.now;
    let edit = fixture
        .backend
        .start_modification(&d("d"), TTL, ALL)
        .await
        .expect("the key is free");
    assert_eq!(edit.record.package, Some(package(&["a"])));
    assert_eq!(edit.record.entity.version, fixture.version(d("d")).await);
    let ttl = edit.until.since(now);
    assert!(ttl >= TTL && ttl < TTL + Duration::from_secs(5), "{ttl:?}");
    assert_eq!(edit.token.key, d("d"));
    let secret = &edit.token.secret;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    assert!(
        !secret.is_empty() && secret.chars().all(plain),
        "the secret has letters, digits, dots and minus signs only"
    );
    let text = edit.token.encode();
    assert_eq!(Token::decode(&text).expect("it was encoded"), edit.token);
    let plain = fixture
        .backend
        .start_modification(&d("d"), TTL, Want::ROW)
        .await;
    refused(plain, &[Busy], "a second modification");
}

/// An entity that is absent or under deletion cannot be modified: `NotFound`.
pub async fn a_missing_entity_is_not_found(fixture: BackendFixture) {
    fixture.put([site("s").being_deleted()]).await;
    for key in [s("s"), s("missing")] {
        let result = fixture
            .backend
            .start_modification(&key, TTL, Want::ROW)
            .await;
        let error = refused(result, &[NotFound], "the modification");
        assert!(
            matches!(&error, Error::NotFound(Subject::Entity(k)) if *k == key),
            "{error:?}"
        );
    }
}

/// A second modification of a key is busy and names the key; other keys are free.
pub async fn a_second_modification_is_busy(fixture: BackendFixture) {
    fixture.put([site("a"), site("b")]).await;
    edit(&fixture, &s("a")).await;
    let result = fixture
        .backend
        .start_modification(&s("a"), TTL, Want::ROW)
        .await;
    let error = refused(result, &[Busy], "a second modification");
    assert!(
        matches!(&error, Error::Busy(key) if *key == s("a")),
        "{error:?}"
    );
    edit(&fixture, &s("b")).await;
}

/// A modification blocks puts and deletes of its key by others.
pub async fn a_modification_blocks_other_writers(fixture: BackendFixture) {
    fixture.put([site("a"), site("b")]).await;
    let one = edit(&fixture, &s("a")).await.token;
    let other = edit(&fixture, &s("b")).await.token;
    let put = || site("a").with_label("k", "v");
    for blocked in [
        set([put()]),
        changes([Change::Delete(s("a"))]),
        under(&other, [put()]),
        set([site("c"), put()]),
    ] {
        let error = refused(
            fixture.try_commit(blocked).await,
            &[Busy],
            "a write by another client",
        );
        assert!(
            matches!(&error, Error::Busy(key) if *key == s("a")),
            "{error:?}"
        );
    }
    assert!(fixture.find(s("c")).await.is_none());
    fixture.commit(under(&one, [put()])).await;
}

/// A modification allows conditions on its key, references to it, and all changes of other keys.
pub async fn a_modification_allows_conditions(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let token = edit(&fixture, &s("s")).await.token;
    let said = vec![condition("C", true, "R")];
    fixture
        .commit(changes([Change::Conditions(s("s"), said)]))
        .await;
    fixture.put([deployment("d").site("s")]).await;
    let require = vec![Require::Exists(s("s"))];
    fixture
        .commit(set([template("t")]).requirements(require))
        .await;
    fixture.enqueue(Stage::Schedule, [s("s")]).await;
    assert_eq!(fixture.claim_one(Stage::Schedule).await.work.key, s("s"));
    fixture
        .commit(under(&token, [site("s").with_label("k", "v")]))
        .await;
    assert_eq!(fixture.row(s("s")).await.conditions.len(), 1);
}

/// A modification allows puts that are marked as allowed beside it, such as placements. They take
/// full effect, others stay excluded, and the modification can still end.
pub async fn a_modification_allows_placements(fixture: BackendFixture) {
    fixture
        .put([site("s"), deployment("d"), deployment("other")])
        .await;
    let token = edit(&fixture, &d("d")).await.token;
    let placed = |id: &str| deployment(id).placed("s").beside_modification(true);
    fixture.enqueue(Stage::Schedule, [s("s")]).await;
    let claim = fixture.claim_one(Stage::Schedule).await;
    let step = set([placed("d"), placed("other")]).under(claim.token);
    fixture.commit(step.settle(Outcome::Done)).await;
    let on_site = fixture
        .walk(&all(Kind::Deployment).concerning(site_id("s")), 0)
        .await;
    let keys: Vec<Key> = on_site.iter().map(|r| r.entity.key.clone()).collect();
    assert_eq!(keys, [d("d"), d("other")], "the placements are indexed");
    let revision = fixture.revision().await;
    fixture.commit(set([placed("d")])).await;
    assert_eq!(fixture.revision().await, revision, "it has no effect");
    for blocked in [
        set([placed("d").beside_modification(false)]),
        set([placed("other"), deployment("d")]),
        changes([Change::Delete(d("d"))]),
    ] {
        let result = fixture.try_commit(blocked).await;
        refused(result, &[Busy], "a write by another client");
    }
    let result = fixture
        .backend
        .start_modification(&d("d"), TTL, Want::ROW)
        .await;
    refused(result, &[Busy], "the modification is still live");
    let version = fixture.version(d("d")).await;
    let ended = under(&token, [deployment("d").placed("s").with_label("k", "v")]);
    fixture
        .commit(ended.requirements([Require::At(d("d"), version)]))
        .await;
    let again = fixture.try_commit(under(&token, [])).await;
    of_claim(&refused(again, &[NotFound], "a used token"), &d("d"));
    edit(&fixture, &d("d")).await;
}

/// A commit under the token ends the modification: the token is used up, and the key is free.
pub async fn a_commit_ends_the_modification(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let token = edit(&fixture, &s("s")).await.token;
    fixture
        .commit(under(&token, [site("s").with_label("k", "1")]))
        .await;
    let again = fixture
        .try_commit(under(&token, [site("s").with_label("k", "2")]))
        .await;
    of_claim(&refused(again, &[NotFound], "a used token"), &s("s"));
    let settled = fixture.backend.settle(&[(token, Outcome::Done)]).await;
    assert_eq!(
        settled.expect("the call succeeds"),
        [false],
        "nothing is left to cancel"
    );
    fixture.put([site("s").with_label("k", "3")]).await;
    edit(&fixture, &s("s")).await;
}

/// A commit that changes nothing, or only other keys, also ends the modification; so does a delete.
pub async fn a_commit_without_changes_ends_the_modification(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    for nothing in [set([]), set([site("s")]), set([template("t")])] {
        let token = edit(&fixture, &s("s")).await.token;
        fixture.commit(nothing.under(token.clone())).await;
        let again = fixture.try_commit(under(&token, [])).await;
        of_claim(&refused(again, &[NotFound], "a used token"), &s("s"));
    }
    let token = edit(&fixture, &s("s")).await.token;
    let delete = changes([Change::Delete(s("s"))]);
    fixture.commit(delete.under(token)).await;
    fixture.put([site("s")]).await;
    edit(&fixture, &s("s")).await;
}

/// A refused commit keeps the modification.
pub async fn a_refused_commit_keeps_the_modification(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let token = edit(&fixture, &s("s")).await.token;
    let require = vec![Require::Exists(t("missing"))];
    let put = || under(&token, [site("s").with_label("k", "v")]);
    let result = fixture.try_commit(put().requirements(require)).await;
    refused(result, &[NotFound], "a reference to an absent entity");
    let result = fixture
        .backend
        .start_modification(&s("s"), TTL, Want::ROW)
        .await;
    refused(result, &[Busy], "the modification is still live");
    fixture.commit(put()).await;
}

/// An expired modification blocks nobody, and its token commits nothing: `ClaimExpired`.
pub async fn an_expired_modification_commits_nothing(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let token = edit(&fixture, &s("s")).await.token;
    fixture.advance(NEARLY).await;
    refused(
        fixture
            .try_commit(set([site("s").with_label("k", "1")]))
            .await,
        &[Busy],
        "a write before the deadline",
    );
    fixture.advance(Duration::from_secs(6)).await;
    let late = || under(&token, [site("s").with_label("k", "late")]);
    let error = refused(
        fixture.try_commit(late()).await,
        &[ClaimExpired],
        "an expired token",
    );
    assert!(
        matches!(&error, Error::ClaimExpired(key) if *key == s("s")),
        "{error:?}"
    );
    let settled = fixture
        .backend
        .settle(&[(token.clone(), Outcome::Done)])
        .await;
    assert_eq!(settled.expect("the call succeeds"), [false]);
    fixture.put([site("s").with_label("k", "2")]).await;
    let next = edit(&fixture, &s("s")).await.token;
    refused(
        fixture.try_commit(late()).await,
        &[ClaimExpired],
        "after another took over",
    );
    fixture
        .commit(under(&next, [site("s").with_label("k", "3")]))
        .await;
    assert_eq!(fixture.revision().await, 3);
}

/// A token that was never issued is not found.
pub async fn an_unknown_token_is_not_found(fixture: BackendFixture) {
    fixture.put([site("s"), site("other")]).await;
    let real = edit(&fixture, &s("s")).await.token;
    let changed = {
        let mut secret = real.secret.to_string();
        let last = secret.pop();
        secret.push(if last == Some('0') { '1' } else { '0' });
        Token::new(real.key.clone(), secret)
    };
    let moved = Token::new(s("other"), real.secret.clone());
    for made_up in [changed, moved] {
        let result = fixture.try_commit(under(&made_up, [template("t")])).await;
        of_claim(
            &refused(result, &[NotFound], "a made-up token"),
            &made_up.key,
        );
        let settled = fixture.backend.settle(&[(made_up, Outcome::Done)]).await;
        assert_eq!(settled.expect("the call succeeds"), [false]);
    }
    fixture.commit(under(&real, [])).await;
}

/// A cancelled modification blocks nobody, and its token is not found.
pub async fn a_cancelled_modification_is_not_found(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let token = edit(&fixture, &s("s")).await.token;
    let settled = fixture
        .backend
        .settle(&[(token.clone(), Outcome::Done)])
        .await;
    assert_eq!(settled.expect("the call succeeds"), [true]);
    let result = fixture
        .try_commit(under(&token, [site("s").with_label("k", "v")]))
        .await;
    of_claim(
        &refused(result, &[NotFound], "a token that was given up"),
        &s("s"),
    );
    edit(&fixture, &s("s")).await;
}

/// Starting, using and cancelling a modification makes no revision.
pub async fn a_modification_makes_no_revision(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let before = fixture.version(s("s")).await;
    let token = edit(&fixture, &s("s")).await.token;
    fixture.commit(under(&token, [])).await;
    let token = edit(&fixture, &s("s")).await.token;
    fixture
        .backend
        .settle(&[(token, Outcome::Done)])
        .await
        .expect("the call succeeds");
    assert_eq!(fixture.revision().await, 1);
    assert_eq!(fixture.version(s("s")).await, before);
}

/// Of many concurrent requests, one gets the modification.
pub async fn one_of_many_gets_the_modification(fixture: BackendFixture) {
    fixture.put([site("s")]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let own = fixture.beside().await;
        tasks.spawn(async move {
            own.backend
                .start_modification(&s("s"), TTL, Want::ROW)
                .await
        });
    }
    let mut given = 0;
    while let Some(ended) = tasks.join_next().await {
        match ended.expect("the task ends") {
            Ok(_) => given += 1,
            Err(error) => assert_eq!(error.kind(), Busy),
        }
    }
    assert_eq!(given, 1);
}
