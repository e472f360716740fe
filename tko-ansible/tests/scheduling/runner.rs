//! Playbooks on this machine, with the real ansible-core and ansible-runner.
//!
//! They are installed with pip below the target folder, once. `TKO_ANSIBLE_ENV` names a Python
//! environment that has them already.

use crate::world::{deployment, schedule, scheduler, site};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tko_ansible::AnsibleSettings;
use tko_core::Package;

/// The folder with the programs of Ansible.
fn programs() -> Option<&'static Path> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let given = std::env::var_os("TKO_ANSIBLE_ENV").map(PathBuf::from);
    let folder =
        given.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible-2.19.14"));
    let (bin, done) = (folder.join("bin"), folder.join("installed"));
    if bin.join("ansible-runner").exists() && (done.exists() || bin.join("ansible").exists()) {
        return Some(bin);
    }
    let run = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let installed = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(bin.join("pip")).args([
            "install",
            "--quiet",
            "ansible-core==2.19.14",
            "ansible-runner==2.4.3",
        ]))
        && std::fs::write(done, "").is_ok();
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    assert!(
        installed || without.split(',').any(|name| name == "ansible"),
        "pip cannot install ansible-core and ansible-runner; TKO_TEST_WITHOUT=ansible skips their \
         tests"
    );
    installed.then_some(bin)
}

/// A folder with a playbook, and a runner that finds the programs.
fn playbook(tasks: &str) -> Option<(tempfile::TempDir, String, String)> {
    let programs = programs()?;
    let folder = tempfile::tempdir().expect("a folder");
    let play = format!(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}"
    );
    let path = folder.path().join("site.yaml");
    std::fs::write(&path, play).expect("it is written");
    // The environment of plugins is clean: the program itself says where Ansible is.
    let runner = folder.path().join("runner");
    let script = format!(
        "#!/bin/sh\nPATH={0}:$PATH\nexport PATH\nexec {0}/ansible-runner \"$@\"\n",
        programs.display()
    );
    std::fs::write(&runner, script).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&runner, mode).expect("it is made executable");
    let (path, runner) = (path.display().to_string(), runner.display().to_string());
    Some((folder, path, runner))
}

#[tokio::test]
async fn a_playbook_gets_the_input_and_its_output_is_a_condition() {
    let tasks = "    - copy: {dest: \"{{ playbook_dir }}/out\", content: \"{{ plugin.siteId }} \
                 {{ plugin.deployments.one[0].data.text }} {{ region }}\"}\n    - debug: {msg: well \
                 done}\n";
    let Some((folder, path, runner)) = playbook(tasks) else {
        return;
    };
    let properties = [
        ("_ansible.playbook", path.as_str()),
        ("_ansible.runner", runner.as_str()),
        ("region", "pune"),
    ];
    let ansible = scheduler(AnsibleSettings::default(), &[], &properties).unwrap();
    let conditions = schedule(&*ansible, &site("edge", "a"), &[deployment("one", "b")], 1)
        .await
        .unwrap();
    assert!(
        conditions[0].message.contains("failed=0"),
        "{}",
        conditions[0].message
    );
    let written = std::fs::read_to_string(folder.path().join("out")).unwrap();
    assert_eq!(written, "edge b pune");
}

#[tokio::test]
async fn texts_of_packages_are_never_evaluated_as_templates() {
    // Templates that see the input several times, and print its keys and values.
    let tasks = "    - copy: {dest: \"{{ playbook_dir }}/out\", content: \"{{ plugin | to_json \
                 }}\"}\n    - set_fact: {again: \"{{ plugin }}\"}\n    - debug: {var: again}\n    \
                 - debug: {msg: \"{{ item.key }} {{ item.value }}\"}\n      loop: \"{{ \
                 plugin.sitePackage[0].data | dict2items }}\"\n    - copy: {dest: \"{{ \
                 playbook_dir }}/region\", content: \"{{ region }}\"}\n";
    let Some((folder, path, runner)) = playbook(tasks) else {
        return;
    };
    let properties = [
        ("_ansible.playbook", path.as_str()),
        ("_ansible.runner", runner.as_str()),
        // An operator sets this one.
        ("region", "pune-{{ 1 + 1 }}"),
    ];
    let ran = folder.path().join("ran");
    let touch = format!("{{{{ lookup('pipe', 'touch {}') }}}}", ran.display());
    let expression = format!("lookup('pipe', 'touch {}')", ran.display());
    let other = "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n[% 1 + 1 %]";
    let long = "k".repeat(2_000);
    let data = json!({
        "sum": "{{ 1 + 1 }}", "touch": touch, "expression": expression, "other": other,
        "labels": "{{ $labels.x }}", "{{ 1 + 1 }}": "key", "<<": "merge", long: "long",
        // Texts that YAML would read as other values.
        "words": ["", "1", "1\n", "true", "null", "~", "*", "=", "1.5", "2024-01-01", "{}", "- a"],
        "values": [1, -1, u64::MAX, 2.5, 1e16, 1.5e-7, true, null, [], {}],
        "odd": "\u{7f}\u{85}\u{2028}\u{feff}\u{1f600}\t\"\\'",
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": data,
    });
    let package = Package::from_values([map.clone()]).unwrap();
    let (mut site, mut one) = (site("edge", "a"), deployment("one", "b"));
    site.package = Some(package.clone());
    one.package = Some(package);
    let ansible = scheduler(AnsibleSettings::default(), &[], &properties).unwrap();
    schedule(&*ansible, &site, &[one], 1).await.unwrap();
    assert!(!ran.exists());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let written: Value = serde_json::from_str(&read("out")).unwrap();
    assert_eq!(written["sitePackage"], json!([map]));
    assert_eq!(written["deployments"], json!({"one": [map]}));
    assert_eq!(read("region"), "pune-2");
}

#[tokio::test]
async fn a_playbook_that_fails_is_an_error_with_its_last_lines() {
    let Some((_folder, path, runner)) = playbook("    - fail: {msg: no room in the rack}\n") else {
        return;
    };
    let properties = [
        ("_ansible.playbook", path.as_str()),
        ("_ansible.runner", runner.as_str()),
    ];
    let ansible = scheduler(AnsibleSettings::default(), &[], &properties).unwrap();
    let error = schedule(&*ansible, &site("edge", "a"), &[], 1)
        .await
        .unwrap_err()
        .chain();
    assert!(error.contains("no room in the rack"), "{error}");
}

#[tokio::test]
async fn a_playbook_that_hangs_is_ended_and_leaves_no_files() {
    // Ansible unpacks a module into a temporary folder, which a killed module does not remove.
    let tasks = "    - shell: ls -d \"$TMPDIR\"/ansible_*_payload_* > payload; sleep 600\n      \
                 args: {chdir: \"{{ playbook_dir }}\"}\n";
    let Some((folder, path, runner)) = playbook(tasks) else {
        return;
    };
    let properties = [
        ("_ansible.playbook", path.as_str()),
        ("_ansible.runner", runner.as_str()),
    ];
    let settings = AnsibleSettings::default().with_playbook_timeout(Duration::from_secs(15));
    let ansible = scheduler(settings, &[], &properties).unwrap();
    let error = schedule(&*ansible, &site("edge", "a"), &[], 1)
        .await
        .unwrap_err()
        .chain();
    assert!(error.contains("site.yaml"), "{error}");
    let payload = std::fs::read_to_string(folder.path().join("payload")).unwrap();
    let payload = Path::new(payload.trim());
    assert!(payload.is_absolute(), "the module had no folder: {error}");
    assert!(!payload.exists(), "{} is left", payload.display());
}

#[tokio::test]
async fn a_playbook_that_is_not_there_is_an_error() {
    let properties = [("_ansible.playbook", "/nowhere/site.yaml")];
    let ansible = scheduler(AnsibleSettings::default(), &[], &properties).unwrap();
    let error = schedule(&*ansible, &site("edge", "a"), &[], 1)
        .await
        .unwrap_err()
        .chain();
    assert!(error.contains("/nowhere/site.yaml"), "{error}");
}
