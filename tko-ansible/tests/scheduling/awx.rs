//! Jobs of AWX: one for each change, followed, found again, cancelled.

use crate::awx_server::{AwxServer, AwxState, ServedJob};
use crate::world::{deployment, schedule, scheduler, site};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_ansible::AnsibleSettings;
use tko_core::{ErrorKind, Result, Scheduler};
use tko_source::SecretFolder;

fn settings() -> AnsibleSettings {
    AnsibleSettings::default()
        .with_poll(Duration::from_millis(1))
        .with_request_timeout(Duration::from_secs(10))
}

fn plugin(server: &AwxServer) -> Result<Arc<dyn Scheduler>> {
    let properties = [
        ("_awx.host", server.url.as_str()),
        ("_awx.inventory", "edges"),
        ("_awx.username", "user"),
        ("_awx.password", "word"),
        ("region", "pune"),
    ];
    scheduler(settings(), &["deploy"], &properties)
}

#[tokio::test]
async fn a_change_is_one_job_however_often_it_is_scheduled() {
    let server = AwxServer::start(&["pending", "running", "successful"]).await;
    let awx = plugin(&server).unwrap();
    let (edge, wanted) = (site("edge", "a"), [deployment("one", "b")]);
    let conditions = schedule(&*awx, &edge, &wanted, 1).await.unwrap();
    assert_eq!(conditions[0].kind, "Automated");
    assert_eq!(conditions[0].status, Some(true));
    let message = &conditions[0].message;
    let page = format!("{}/#/jobs/playbook/100: successful", server.url);
    assert!(message.starts_with(&page), "{message}");
    assert!(
        message.ends_with("line 50") || message.ends_with("line 50[0m"),
        "{message}"
    );
    assert!(
        message.contains("line 41") && !message.contains("line 40"),
        "{message}"
    );
    let job = server.with(|state| state.jobs[0].clone());
    assert_eq!(job.inventory, 3);
    assert_eq!(job.variables["region"], "pune");
    let input = &job.variables["plugin"];
    assert_eq!(input["siteId"], "edge");
    assert_eq!(input["sitePackage"][0]["data"], json!({"text": "a"}));
    assert_eq!(input["deployments"]["one"][0]["data"], json!({"text": "b"}));
    assert_eq!(input["removedDeployments"], json!({}));
    assert_eq!(input["targetResourceIdentifier"]["kind"], "");

    // Unchanged: the next calls cost no request at all.
    let before = server.with(|state| state.requests);
    for fence in 2..5 {
        let again = schedule(&*awx, &edge, &wanted, fence).await.unwrap();
        assert_eq!(again[0].message, conditions[0].message);
    }
    assert_eq!(server.with(|state| state.requests), before);
    // Somebody else may have had the site: the jobs tell.
    schedule(&*awx, &edge, &wanted, 9).await.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 1);
    // A change is another job; going back is a third one.
    schedule(&*awx, &edge, &[], 10).await.unwrap();
    schedule(&*awx, &edge, &wanted, 11).await.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 3);
    // Another site is not this one.
    schedule(&*awx, &site("other", "a"), &wanted, 1)
        .await
        .unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 4);
}

#[tokio::test]
async fn a_controller_that_starts_again_follows_the_job_of_the_one_before() {
    let server = AwxServer::start(&["running"]).await;
    let (edge, wanted) = (site("edge", "a"), [deployment("one", "b")]);
    let first = plugin(&server).unwrap();
    // The process dies in the middle: nothing of its memory is left, and it cancels nothing.
    let call = tokio::spawn({
        let (edge, wanted) = (edge.clone(), wanted.clone());
        async move { schedule(&*first, &edge, &wanted, 1).await }
    });
    while server.with(|state| state.asked) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.with(|state| state.failing = (usize::MAX, 503));
    let failed = call.await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    server.with(|state| {
        state.failing = (0, 0);
        state.statuses = vec!["running", "successful"];
        state.asked = 0;
    });
    let second = plugin(&server).unwrap();
    let conditions = schedule(&*second, &edge, &wanted, 2).await.unwrap();
    assert!(
        conditions[0]
            .message
            .contains("/jobs/playbook/100: successful")
    );
    assert_eq!(
        server.with(|state| (state.jobs.len(), state.cancelled.len())),
        (1, 0)
    );
    // Also when it has ended meanwhile.
    let third = plugin(&server).unwrap();
    schedule(&*third, &edge, &wanted, 3).await.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 1);
}

#[tokio::test]
async fn the_newest_job_of_a_site_is_found_on_a_later_page() {
    let server = AwxServer::start(&["successful"]).await;
    let awx = plugin(&server).unwrap();
    let edge = site("edge", "a");
    schedule(&*awx, &edge, &[], 1).await.unwrap();
    server.with(|state| {
        let mut other = state.jobs[0].clone();
        other.variables = json!({"tko_site": "other", "tko_change": "x"});
        for id in 0..450 {
            other.id = 200 + id;
            state.jobs.push(other.clone());
        }
    });
    let later = plugin(&server).unwrap();
    schedule(&*later, &edge, &[], 5).await.unwrap();
    assert_eq!(
        server.with(|state| state.jobs.len()),
        451,
        "no job was launched"
    );
}

#[tokio::test]
async fn a_failed_job_is_an_error_with_its_page_and_last_lines_and_is_launched_again() {
    let server = AwxServer::start(&["running", "failed"]).await;
    let awx = plugin(&server).unwrap();
    let edge = site("edge", "a");
    let error = schedule(&*awx, &edge, &[], 1).await.unwrap_err().chain();
    for part in ["/#/jobs/playbook/100", "failed a task failed", "line 50"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(!error.contains('\x1b'), "{error:?}");
    server.with(|state| state.statuses = vec!["successful"]);
    schedule(&*awx, &edge, &[], 2).await.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 2);
}

#[tokio::test]
async fn a_call_that_ends_early_cancels_its_job() {
    let server = AwxServer::start(&["running"]).await;
    let awx = plugin(&server).unwrap();
    let edge = site("edge", "a");
    let call = tokio::spawn(async move { schedule(&*awx, &edge, &[], 1).await });
    while server.with(|state| state.asked) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    call.abort();
    let cancelled = async {
        while server.with(|state| state.cancelled.is_empty()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cancelled)
        .await
        .expect("it is cancelled");
    assert_eq!(server.with(|state| state.cancelled.clone()), [100]);
}

#[tokio::test]
async fn a_job_of_an_earlier_change_ends_before_the_next_one_is_launched() {
    let server = AwxServer::start(&["successful"]).await;
    server.with(|state| {
        state.stopping = 3;
        state.jobs.push(ServedJob {
            id: 100,
            status: "running".to_owned(),
            variables: json!({"tko_site": "edge", "tko_change": "x"}),
            inventory: json!(3),
        });
    });
    let awx = plugin(&server).unwrap();
    let conditions = schedule(&*awx, &site("edge", "a"), &[], 1).await.unwrap();
    let message = &conditions[0].message;
    assert!(
        message.contains("/jobs/playbook/101: successful"),
        "{message}"
    );
    server.with(|state| {
        assert_eq!(state.cancelled, [100]);
        assert_eq!((state.stopping, state.overlaps), (0, 0));
        let statuses: Vec<&str> = state.jobs.iter().map(|job| &*job.status).collect();
        assert_eq!(statuses, ["canceled", "successful"]);
    });
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_does_not_end_the_job() {
    let server = AwxServer::start(&["running", "running", "successful"]).await;
    let awx = plugin(&server).unwrap();
    let edge = site("edge", "a");
    let call = tokio::spawn(async move { schedule(&*awx, &edge, &[], 1).await });
    while server.with(|state| state.asked) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.with(|state| state.failing = (5, 502));
    call.await.unwrap().unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 1);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let server = AwxServer::start(&["successful"]).await;
    let edge = site("edge", "a");
    let host = ("_awx.host", server.url.as_str());
    let token = ("_awx.token", "token");
    let outcome = async |arguments: &[&str], properties: &[(&str, &str)]| {
        let awx = scheduler(settings(), arguments, properties)?;
        schedule(&*awx, &edge, &[], 1).await
    };
    for (template, properties, expected) in [
        (
            "nothing",
            vec![host, token],
            "AWX has no job template \"nothing\"",
        ),
        (
            "twice",
            vec![host, token],
            "AWX has several of the job template \"twice\"",
        ),
        (
            "deploy",
            vec![host, token, ("_awx.inventory", "none")],
            "AWX has no inventory \"none\"",
        ),
        (
            "deploy",
            vec![host, token, ("_awx.inventory", "both")],
            "AWX has several of the inventory \"both\"",
        ),
        (
            "deploy",
            vec![host, ("_awx.token", "wrong")],
            "check _awx.token",
        ),
        (
            "deploy",
            vec![host, ("_awx.token", "secret:awx")],
            "start this controller with --secrets",
        ),
        (
            "deploy",
            vec![host, ("_awx.username", "user")],
            "a username with a password",
        ),
        (
            "deploy",
            vec![host, ("_awx.hots", "x")],
            "unknown property; expected one of _awx.host",
        ),
        ("deploy", vec![host, ("plugin", "x")], "choose another name"),
        (
            "deploy",
            vec![("_awx.host", "ftp://x")],
            "is not an http or https URL",
        ),
        (
            "deploy",
            vec![("_awx.host", "http://a:b@x")],
            "do not belong into the URL",
        ),
        (
            "deploy",
            vec![("_awx.host", "http://192.0.2.1"), token],
            "not sent without TLS",
        ),
        ("deploy", vec![], "give the URL of AWX, or a playbook"),
        (
            "deploy",
            vec![host, ("_ansible.playbook", "x.yaml")],
            "either _ansible.playbook or",
        ),
    ] {
        let error = outcome(&[template], &properties)
            .await
            .expect_err(expected)
            .chain();
        assert!(error.contains(expected), "{expected} in {error}");
    }
    let error = outcome(&[], &[host])
        .await
        .expect_err("no template")
        .chain();
    assert!(error.contains("the name of the job template"), "{error}");
    server.with(|state| state.failing = (1, 403));
    let error = outcome(&["deploy"], &[host, token]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    server.with(|state| state.ignored = vec!["extra_vars"]);
    let error = outcome(&["deploy"], &[host, token])
        .await
        .unwrap_err()
        .chain();
    assert!(error.contains("ignored extra_vars"), "{error}");
    assert_eq!(server.with(|state| state.cancelled.len()), 1);
}

#[tokio::test]
async fn secrets_are_read_where_the_plugin_runs() {
    let server = AwxServer::start(&["successful"]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("awx-token"), "token\n").unwrap();
    let settings = settings().with_secrets(SecretFolder::new(folder.path()));
    let host = ("_awx.host", server.url.as_str());
    let with = |reference: &'static str| {
        scheduler(
            settings.clone(),
            &["deploy"],
            &[host, ("_awx.token", reference)],
        )
        .unwrap()
    };
    let edge = site("edge", "a");
    schedule(&*with("secret:awx-token"), &edge, &[], 1)
        .await
        .unwrap();
    for (reference, expected) in [
        ("secret:../awx-token", "is not the name of a secret"),
        ("secret:.hidden", "is not the name of a secret"),
        ("secret:", "is not the name of a secret"),
        ("secret:missing", "cannot be read"),
    ] {
        let error = schedule(&*with(reference), &edge, &[], 1)
            .await
            .unwrap_err()
            .chain();
        assert!(error.contains(expected), "{error}");
    }
    // A list of hosts that lacks the one of AWX.
    let list = folder.path().join("awx-token.hosts");
    std::fs::write(&list, "awx.example.com\n").unwrap();
    let plugin = with("secret:awx-token");
    let error = schedule(&*plugin, &edge, &[], 2).await.unwrap_err().chain();
    assert!(error.contains("is not for the host"), "{error}");
    std::fs::write(&list, "127.0.0.1\n").unwrap();
    schedule(&*plugin, &edge, &[], 3).await.unwrap();
}

#[tokio::test]
async fn a_site_whose_last_job_is_behind_many_others_gets_no_second_one() {
    let server = AwxServer::start(&["successful"]).await;
    let awx = plugin(&server).unwrap();
    let mut edge = site("edge", "a");
    let conditions = schedule(&*awx, &edge, &[], 1).await.unwrap();
    Arc::make_mut(&mut edge.entity).conditions = conditions;
    server.with(|state| {
        let mut other = state.jobs[0].clone();
        other.variables = json!({"tko_site": "other", "tko_change": "x"});
        for id in 0..2_500 {
            other.id = 200 + id;
            state.jobs.push(other.clone());
        }
    });
    let count = || server.with(|state| state.jobs.len());
    let before = count();
    let later = plugin(&server).unwrap();
    let again = schedule(&*later, &edge, &[], 5).await.unwrap();
    assert_eq!(again[0].message, edge.entity.conditions[0].message);
    assert_eq!(count(), before, "no job was launched");
    // Another change is launched, and so is one whose job AWX has removed.
    schedule(&*later, &edge, &[deployment("one", "b")], 6)
        .await
        .unwrap();
    assert_eq!(count(), before + 1);
    server.with(|state| {
        state.jobs.pop();
        state.jobs.remove(0);
    });
    let last = plugin(&server).unwrap();
    schedule(&*last, &edge, &[], 7).await.unwrap();
    assert_eq!(count(), before);
}

/// A server with a job of the site `edge` that succeeded, and newer ones of another site with these
/// additional bytes.
async fn displaced(sizes: &[usize]) -> AwxServer {
    let server = AwxServer::start(&["successful"]).await;
    let awx = plugin(&server).unwrap();
    schedule(&*awx, &site("edge", "a"), &[], 1).await.unwrap();
    server.with(|state| {
        let mut other = state.jobs[0].clone();
        other.variables = json!({"tko_site": "other", "tko_change": "x"});
        for (id, size) in (101..).zip(sizes) {
            other.id = id;
            state.jobs.push(other.clone());
            state.more_bytes.insert(id, *size);
        }
    });
    server
}

#[tokio::test]
async fn jobs_with_large_variables_are_read_in_smaller_pages() {
    const MIB: usize = 1 << 20;
    let mut one_too_large = vec![0; 20];
    one_too_large[10] = 33 * MIB;
    for sizes in [vec![MIB; 60], vec![16 * MIB; 3], one_too_large] {
        let server = displaced(&sizes).await;
        let awx = plugin(&server).unwrap();
        schedule(&*awx, &site("edge", "a"), &[], 5).await.unwrap();
        let jobs = server.with(|state| state.jobs.len());
        assert_eq!(jobs, sizes.len() + 1, "a job was launched");
    }
}

#[tokio::test]
async fn a_last_job_that_is_too_large_to_read_ends_the_search() {
    let server = displaced(&[0, 0]).await;
    server.with(|state| state.more_bytes.insert(100, 33 << 20));
    let awx = plugin(&server).unwrap();
    let mut edge = site("edge", "a");
    let conditions = schedule(&*awx, &edge, &[], 5).await.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 4);
    // Also if the condition names it.
    Arc::make_mut(&mut edge.entity).conditions = conditions;
    server.with(|state| state.more_bytes.insert(103, 33 << 20));
    let later = plugin(&server).unwrap();
    let launched = schedule(&*later, &edge, &[deployment("one", "b")], 9).await;
    launched.unwrap();
    assert_eq!(server.with(|state| state.jobs.len()), 5);
}

#[tokio::test]
async fn jobs_older_than_that_of_the_condition_are_not_read() {
    let server = displaced(&[0; 300]).await;
    let awx = plugin(&server).unwrap();
    let mut edge = site("edge", "b");
    let conditions = schedule(&*awx, &edge, &[], 5).await.unwrap();
    Arc::make_mut(&mut edge.entity).conditions = conditions;
    server.with(|state| state.listed = 0);
    let later = plugin(&server).unwrap();
    schedule(&*later, &edge, &[], 9).await.unwrap();
    assert_eq!(
        server.with(|state| (state.jobs.len(), state.listed)),
        (302, 1)
    );
}

#[tokio::test]
async fn a_job_that_could_not_be_read_back_is_not_launched() {
    let server = AwxServer::start(&["successful"]).await;
    let awx = plugin(&server).unwrap();
    let large = site("edge", &"x".repeat(17 << 20));
    let error = schedule(&*awx, &large, &[], 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("make the packages of the site smaller"),
        "{message}"
    );
    assert_eq!(server.with(|state| state.jobs.len()), 0);
}

#[tokio::test]
async fn how_awx_fails_is_what_the_error_says() {
    /// What the server does, what the error says and is, and how many jobs there are in the end,
    /// once the server is well again.
    struct Case {
        name: &'static str,
        fail: fn(&mut AwxState),
        says: &'static str,
        kind: ErrorKind,
        jobs: usize,
    }
    let cases = [
        Case {
            name: "400",
            fail: |state| state.failing = (1, 400),
            says: "answered 400 Bad Request to job_templates/: {\"detail\":\"as told\"}",
            kind: ErrorKind::BadArgument,
            jobs: 1,
        },
        Case {
            name: "401",
            fail: |state| state.failing = (1, 401),
            says: "check _awx.token, or _awx.username and _awx.password",
            kind: ErrorKind::Unauthenticated,
            jobs: 1,
        },
        Case {
            name: "403",
            fail: |state| state.failing = (1, 403),
            says: "give the login the role Execute",
            kind: ErrorKind::Forbidden,
            jobs: 1,
        },
        Case {
            name: "404",
            fail: |state| state.failing = (1, 404),
            says: "answered 404 Not Found",
            kind: ErrorKind::BadArgument,
            jobs: 1,
        },
        Case {
            name: "429",
            fail: |state| state.failing = (1, 429),
            says: "answered 429 Too Many Requests",
            kind: ErrorKind::Unavailable,
            jobs: 1,
        },
        Case {
            name: "500",
            fail: |state| state.failing = (1, 500),
            says: "answered 500 Internal Server Error",
            kind: ErrorKind::Unavailable,
            jobs: 1,
        },
        Case {
            name: "a page for browsers",
            fail: |state| state.proxied = true,
            says: "understand the answer of AWX",
            kind: ErrorKind::Internal,
            jobs: 1,
        },
        Case {
            name: "slow",
            fail: |state| state.delay = Duration::from_mins(1),
            says: "ask AWX at",
            kind: ErrorKind::Unavailable,
            jobs: 1,
        },
        Case {
            // The next call finds the job and follows it.
            name: "the answer to a launch is lost",
            fail: |state| state.losing = true,
            says: "answered 502 Bad Gateway",
            kind: ErrorKind::Unavailable,
            jobs: 1,
        },
        Case {
            name: "the job fails",
            fail: |state| state.statuses = vec!["waiting", "failed"],
            says: "failed a task failed",
            kind: ErrorKind::Internal,
            jobs: 2,
        },
        Case {
            name: "AWX has an error",
            fail: |state| state.statuses = vec!["running", "error"],
            says: "/#/jobs/playbook/100",
            kind: ErrorKind::Internal,
            jobs: 2,
        },
        Case {
            name: "a person cancels the job",
            fail: |state| state.statuses = vec!["new", "running", "canceled"],
            says: "canceled",
            kind: ErrorKind::Internal,
            jobs: 2,
        },
        Case {
            name: "the job is gone while it runs",
            fail: |state| state.statuses = vec!["gone"],
            says: "answered 404 Not Found to jobs/100/",
            kind: ErrorKind::BadArgument,
            jobs: 1,
        },
    ];
    for case in cases {
        let server = AwxServer::start(&["successful"]).await;
        let timeout = Duration::from_millis(if case.name == "slow" { 200 } else { 60_000 });
        let settings = settings().with_request_timeout(timeout);
        let properties = [("_awx.host", server.url.as_str()), ("_awx.token", "token")];
        let awx = scheduler(settings, &["deploy"], &properties).unwrap();
        let edge = site("edge", "a");
        server.with(case.fail);
        let error = schedule(&*awx, &edge, &[], 1).await.expect_err(case.name);
        assert_eq!(error.kind(), case.kind, "{}: {error}", case.name);
        let message = error.chain();
        assert!(message.contains(case.says), "{}: {message}", case.name);
        server.with(|state| {
            state.proxied = false;
            state.delay = Duration::ZERO;
            state.statuses = vec!["successful"];
        });
        let settings = self::settings().with_request_timeout(Duration::from_mins(1));
        let awx = scheduler(settings, &["deploy"], &properties).unwrap();
        schedule(&*awx, &edge, &[], 2).await.expect(case.name);
        let jobs = server.with(|state| state.jobs.len());
        assert_eq!(jobs, case.jobs, "{}", case.name);
    }
}
