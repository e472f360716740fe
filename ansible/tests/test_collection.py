"""The collection with the real Ansible, against a running server.

The server is the program that TKO_TEST_PROGRAM names, as `tko up`, or one in this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest

import tko

PLAYBOOKS = pathlib.Path(__file__).resolve().parent / "playbooks"
BIN = pathlib.Path(sys.executable).parent
SITE = tko.GVK("metadata.nephio.org", "v1alpha1", "Site")
CONFIG_MAP = tko.GVK("", "v1", "ConfigMap")

# The tasks of deploy.yaml that change something the first time.
CHANGING = [
    "Template of the session manager",
    "Template of sites",
    "Site",
    "Site without a template",
    "Plugin",
    "Deployment",
    "Modification",
    "Approval",
]

# Skips the tasks before this one.
FROM = ["--start-at-task", "Modification"]


@contextlib.contextmanager
def program(path, folder):
    """`tko up` as a process; gives its address."""
    command = [path, "up", "--backend", "memory", "--grpc-ip-stack", "ipv4", "--grpc-port", "0", "--web-port", "0"]
    command += ["--manifests", str(folder / "manifests"), "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                found = re.search(r'"serving gRPC".*?(127\.0\.0\.1:\d+)|(127\.0\.0\.1:\d+).*"serving gRPC"', line)
                if found:
                    # Nothing may block the server's log.
                    threading.Thread(target=process.stderr.read, daemon=True).start()
                    yield found.group(1) or found.group(2)
                    return
            raise AssertionError("tko up did not start:\n" + "".join(lines))
        finally:
            process.terminate()


@contextlib.contextmanager
def embedded():
    """A server with controllers in this process; gives its address."""
    store = tko.Store()
    with store.serve() as server, tko.PrepareController(store), tko.ScheduleController(store, {SITE: lambda call: None}):
        yield server.address


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server."""
    path = os.environ.get("TKO_TEST_PROGRAM")
    with program(path, tmp_path_factory.mktemp("server")) if path else embedded() as address:
        yield address


@pytest.fixture
def client(server):
    """A client of the server."""
    with tko.Client(server) as client:
        yield client


def ansible(*command, **environment):
    """Runs a program of Ansible; returns its output."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false", **environment}
    environment["ANSIBLE_PIPELINING"] = "1"
    program, *arguments = command
    done = subprocess.run(
        [str(BIN / program), *arguments], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def play(name, server, *arguments):
    """Runs a playbook; returns its output, and the outcome of each task."""
    out = ansible(
        "ansible-playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"tko_server={server} ansible_python_interpreter={sys.executable}",
        *arguments,
        str(PLAYBOOKS / f"{name}.yaml"),
    )
    outcomes, task = {}, None
    for line in out.splitlines():
        if found := re.match(r"TASK \[(.*)\]", line):
            task = found.group(1)
        elif found := re.match(r"(ok|changed|fatal|skipping|failed): \[localhost\]", line):
            if outcomes.get(task) != "changed":
                outcomes[task] = found.group(1)
    return out, outcomes


def changed(outcomes):
    """The names of the tasks that changed something."""
    return [task for task, outcome in outcomes.items() if outcome == "changed"]


def test_a_dry_run_changes_nothing_and_says_what_would(server, client):
    out, outcomes = play("deploy", server, "--check", "--diff")
    # What waits for an approval is only known when it is there. All others are foreseen, and no more.
    assert changed(outcomes) == [task for task in CHANGING if task != "Approval"]
    assert "+  log: info" in out and '+        "Site.region": "west"' in out
    assert list(client.list_templates()) == list(client.list_sites()) == list(client.list_plugins()) == []


def test_a_playbook_deploys_once(server, client):
    outcomes = play("deploy", server)[1]
    assert changed(outcomes) == CHANGING
    [deployment] = client.list_deployments(packages=True)
    assert deployment.approved and deployment.metadata["owner"] == "alice"
    package = deployment.get_package()
    assert package.get_first(CONFIG_MAP)["data"] == {"log": "warn"}
    assert package.get_first(tko.GVK("", "v1", "Secret")) is None
    assert client.get_site("india/pune/1").metadata["Site.racks"] == "4"
    assert client.get_plugin("validate", "nothing").properties == {"size": "2", "fast": "true"}
    revision = client.revision()
    out, outcomes = play("deploy", server, "--diff")
    assert changed(outcomes) == [] and "--- before" not in out
    assert client.revision() == revision


def test_a_changed_playbook_changes_what_differs(server, client):
    out, outcomes = play("deploy", server, "--check", "--diff", "-e", "log=debug", *FROM)
    assert changed(outcomes) == ["Modification"]
    assert "-  log: warn\n+  log: debug" in out
    [deployment] = client.list_deployments(packages=True)
    assert deployment.get_package().get_first(CONFIG_MAP)["data"] == {"log": "warn"}
    out, outcomes = play("deploy", server, "--diff", "-e", "log=debug", *FROM)
    # A package that a person changed has to be approved again.
    assert changed(outcomes) == ["Modification", "Approval"] and "-  log: warn\n+  log: debug" in out
    [deployment] = client.list_deployments(packages=True)
    assert deployment.get_package().get_first(CONFIG_MAP)["data"] == {"log": "debug"}


def test_sites_are_an_inventory(server, client, tmp_path):
    source = tmp_path / "my.tko.yaml"
    source.write_text(
        f"""
plugin: tko.tko.sites
server: {server}
site_ids: [india/**]
deployments: true
packages: true
metadata_groups: [Site.r*]
hostname: "{{{{ tko_site_id | replace('/', '-') }}}}"
compose:
  racks: tko_metadata['Site.racks'] | int
groups:
  busy: tko_deployments | length > 0
keyed_groups:
  - key: tko_template_id
    prefix: made
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: {tmp_path / "cache"}
"""
    )

    def read(*arguments):
        # Values of a server are never templates; the export wraps them to say so.
        out = ansible("ansible-inventory", "-i", str(source), "--list", *arguments)
        return json.loads(
            out, object_hook=lambda value: value["__ansible_unsafe"] if "__ansible_unsafe" in value else value
        )

    inventory = read()
    hosts = inventory["_meta"]["hostvars"]
    assert sorted(hosts) == ["india-delhi-1", "india-pune-1"]
    pune = hosts["india-pune-1"]
    assert pune["tko_metadata"] == {"Site.region": "west", "Site.racks": "4", "tier": "gold"} and pune["racks"] == 4
    assert pune["tko_package"][0]["spec"]["region"] == "west"
    assert [one["template_id"] for one in pune["tko_deployments"]] == ["nf/smf:v1"]
    assert inventory["Site_region_west"]["hosts"] == inventory["busy"]["hosts"] == ["india-pune-1"]
    assert inventory["Site_racks_4"]["hosts"] == inventory["made_site_edge"]["hosts"] == ["india-pune-1"]
    assert "tier_gold" not in inventory
    client.register_site("india/pune/2")
    try:
        assert len(read()["_meta"]["hostvars"]) == 2
        assert len(read("--flush-cache")["_meta"]["hostvars"]) == 3
    finally:
        client.delete_site("india/pune/2")


def test_values_of_sites_are_never_templates(server, client, tmp_path):
    ran = tmp_path / "ran"
    metadata = {"sum": "{{ 1+1 }}", "touch": f"{{{{ lookup('ansible.builtin.pipe', 'touch {ran}') }}}}"}
    resource = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": dict(metadata)}
    source = tmp_path / "my.tko.yaml"
    source.write_text(
        f"""
plugin: tko.tko.sites
server: {server}
site_ids: [texts/*]
packages: true
metadata_groups: []
hostname: "{{{{ tko_metadata.sum | length }}}}-{{{{ tko_site_id | replace('/', '-') }}}}"
compose:
  composed: tko_metadata.sum
"""
    )
    playbook = tmp_path / "play.yaml"
    playbook.write_text(
        """
- name: Write what a host has
  hosts: 9-texts-1
  gather_facts: false
  tasks:
    - name: Write
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/out"
        content: "{{ [tko_metadata, tko_package[0].data, composed] | to_json }}"
"""
    )
    client.register_site("texts/1", metadata=metadata, package=[resource])
    try:
        python = f"ansible_python_interpreter={sys.executable}"
        ansible("ansible-playbook", "-i", str(source), "-c", "local", "-e", python, str(playbook))
    finally:
        client.delete_site("texts/1")
    assert json.loads((tmp_path / "out").read_text()) == [metadata, metadata, metadata["sum"]]
    assert not ran.exists()


def test_the_original_names_work(server, client):
    outcomes = play("original", server)[1]
    assert "fatal" not in outcomes.values() and len(outcomes) == 7
    [deployment] = client.list_deployments(packages=True)
    added = tko.Identifier(CONFIG_MAP, "added", "smf")
    assert deployment.get_package()[added] is not None


def test_errors_say_what_to_do(server, client):
    out, outcomes = play("wrong", server)
    assert [task for task, outcome in outcomes.items() if outcome != "fatal"] == ["Clean up"]
    for text in [
        "must be one of ClusterIP",
        "template nowhere does not exist",
        "is not approved after 1 s",
        "move it with deployment_modification",
        "name at least one filter",
        "deployment nothing does not exist",
        "deployment nobody does not exist; give template_id, package or src to create it",
        "/nowhere/at/all",
        "127.0.0.1:9",
    ]:
        assert text in out, f"{text}\n{out}"
    assert len(list(client.list_deployments())) == 1


def test_a_name_is_for_each_parent(server, client):
    outcomes = play("children", server)[1]
    assert changed(outcomes) == ["Parents", "Children", "Remove the children", "Remove the parents"]
    assert len(list(client.list_deployments())) == 1


def test_everything_is_removed_once(server, client):
    outcomes = play("remove", server, "--check")[1]
    assert changed(outcomes) == ["Deployment", "Plugin", "Sites", "Templates"]
    assert len(list(client.list_sites())) == 2
    outcomes = play("remove", server)[1]
    assert changed(outcomes) == ["Deployment", "Plugin", "Sites", "Templates"]
    for listing in (client.list_deployments(), client.list_templates(), client.list_sites(), client.list_plugins()):
        assert list(listing) == []
