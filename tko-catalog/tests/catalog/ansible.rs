//! Inventories that the real program `ansible-inventory` of ansible-core reads.
//!
//! It is installed with pip below the target folder, once. `TKO_ANSIBLE_ENV` names a Python environment
//! that has it already.

use crate::support::{Fixture, assert_synced, condition};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ID: &str = "inventory|fleet";

/// The program.
fn program() -> Option<PathBuf> {
    let given = std::env::var_os("TKO_ANSIBLE_ENV").map(PathBuf::from);
    let is_given = given.is_some();
    let folder = given
        .unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible-core-2.19.14"));
    let (program, done) = (
        folder.join("bin/ansible-inventory"),
        folder.join("installed"),
    );
    if program.exists() && (is_given || done.exists()) {
        return Some(program);
    }
    let run = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let installed = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(folder.join("bin/pip")).args([
            "install",
            "--quiet",
            "ansible-core==2.19.14",
        ]))
        && fs::write(done, "").is_ok();
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    assert!(
        installed || without.split(',').any(|name| name == "ansible"),
        "pip cannot install ansible-core; TKO_TEST_WITHOUT=ansible skips this test"
    );
    installed.then_some(program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_of_the_real_program_are_sites() {
    let Some(program) = program() else {
        eprintln!("skipped: ansible-core cannot be installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hosts.ini");
    let hosts = |south: usize| {
        format!(
            "[north]\nedge-n-[00001:05000]\n[south]\nedge-s-[00001:{south:05}] rack=7\n\
             [edge:children]\nnorth\nsouth\n[south:vars]\nregion=south\nansible_password=secret\n\
             [north:vars]\nregion=north\n"
        )
    };
    fs::write(&file, hosts(5_000)).expect("a file");
    let fixture = Fixture::new();
    let (url, program) = (
        file.to_str().expect("text"),
        program.to_str().expect("text"),
    );
    let properties = [
        ("url", url),
        ("program", program),
        ("id", "{{ region }}/{{ name }}"),
    ];
    assert_synced(&fixture.add(ID, "ansible", &properties).await);
    assert_eq!(fixture.sites().await.len(), 10_000);
    let site = fixture.site("south/edge-s-00042").await.expect("a site");
    let metadata = &site.entity.metadata;
    for (key, value) in [
        ("region", "south"),
        ("rack", "7"),
        ("group.south", "true"),
        ("group.edge", "true"),
    ] {
        assert_eq!(metadata.get(key), Some(value), "{key} in {metadata:?}");
    }
    assert!(metadata.keys().all(|key| !key.starts_with("ansible_")));
    fixture.sync_unchanged(ID).await;
    // 3,000 vanish at once.
    fs::write(&file, hosts(2_000)).expect("a file");
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(&*synced.reason, "MassDisappearance");
    assert!(synced.message.starts_with("3000 of 10000 sites vanished"));
    let site = fixture.site("south/edge-s-04999").await.expect("it stays");
    assert!(!site.entity.given.contains_key("Inventory.gone"));
    // A file that the program refuses changes nothing, and is not taken for an empty one.
    fs::write(&file, "[south\n").expect("a file");
    let entity = fixture.sync(ID).await;
    let synced = condition(&entity, "Synced");
    assert_eq!(synced.status, Some(false));
    assert_ne!(&*synced.reason, "MassDisappearance", "{}", synced.message);
    assert_eq!(fixture.sites().await.len(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_inherits_no_variable_that_may_be_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (script, program, url) = (place("script"), place("program"), place("hosts.ini"));
    // The metadata `names` of the only host are the names of all variables.
    let text = r#"#!/bin/sh
names=$(env | sed -n 's/^\([A-Za-z0-9_]*\)=.*/\1/p' | tr '\n' ' ')
printf '{"_meta": {"hostvars": {"a": {"names": "%s"}}}}' "$names"
"#;
    fs::write(&script, text).expect("a file");
    // Another process writes the program: a file that is still open for writing cannot be run.
    let install = ["-m", "755", &script, &program];
    let installed = Command::new("install").args(install).status();
    assert!(installed.is_ok_and(|status| status.success()));
    let fixture = Fixture::new();
    let properties = [("url", &*url), ("program", &*program)];
    assert_synced(&fixture.add(ID, "ansible", &properties).await);
    let site = fixture.site("a").await.expect("a site");
    let names = site.entity.metadata.get("names").expect("names").to_owned();
    let names: Vec<&str> = names.split_whitespace().collect();
    assert!(names.contains(&"PATH") && names.contains(&"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED"));
    // Cargo sets many for the process of this test; shells set some of their own.
    let allowed = [
        "ANSIBLE_",
        "HOME",
        "KUBECONFIG",
        "LANG",
        "LC_",
        "LOGNAME",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "SSL_CERT_",
        "TKO_PLUGIN_RUN",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_",
        "_",
    ];
    for name in names {
        let is_allowed = allowed.iter().any(|beginning| name.starts_with(beginning));
        assert!(is_allowed, "{name}");
    }
}
