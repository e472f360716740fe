"""Scripts that were written for the original SDK: its names, its order of arguments, its results."""

import io
import json
import os
import subprocess
import sys
import time

import pytest

import tko
from tko import testing

PORT = tko.GVK("example.org", "v1", "Port")
TRIGGER = {"group": "example.org", "version": "v1", "kind": "Port"}
CLUSTER = {
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "kind": "Cluster",
    "metadata": {"name": "lab"},
    "name": "edge",
    "nodes": [{"role": "control-plane"}],
}


def port(name="n3", **spec):
    return {"apiVersion": "example.org/v1", "kind": "Port", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def address():
    with tko.Store().serve() as server:
        yield server.address


@pytest.fixture
def client(address):
    with tko.Client(host=address) as client:
        yield client
        client.purge_deployments()
        client.purge_templates()
        client.purge_sites()
        client.purge_plugins()


def test_packages_are_text_of_a_format(client):
    text = "apiVersion: example.org/v1\nkind: Port\nmetadata: {name: n3}\n"
    client.register_template("nf/upf:v1", {"vendor": "a"}, "yaml", text)
    client.register_template(template_id="nf/json:v1", package_format="json", package=json.dumps([port()]).encode())
    # One resource: the map {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}.
    cbor = b"\x81\xa3japiVersionbv1dkindiConfigMaphmetadata\xa1dnameaa"
    client.register_site("edge/1", "nf/upf:v1", None, "cbor", cbor)
    client.register_site(site_id="edge/2", package_format="cbor", package=[port()])
    for read in (client.get_template("nf/upf:v1"), client.get_template("nf/json:v1"), client.get_site("edge/2")):
        assert read.get_package().get_first(PORT)["metadata"] == {"name": "n3"}
    settings = client.get_site("edge/1").get_package().get_first(tko.GVK("", "v1", "ConfigMap"))
    assert settings["metadata"] == {"name": "a"}
    with pytest.raises(ValueError, match="yaml, json, cbor; pass a package by its keyword"):
        client.register_template("nf/upf:v1", {}, [port()])


def test_deployments_are_created_from_a_template_first(client):
    client.register_template("nf/upf:v1", package=[port(vlan=1)])
    client.register_site("edge/1")
    parent = client.create_deployment("nf/upf:v1")
    merged = json.dumps(port("n4"))
    id = client.create_deployment("nf/upf:v1", parent, "edge/1", {"a": "b"}, False, False, "yaml", merged)
    deployment = client.get_deployment(id)
    assert (deployment.templateId, deployment.parentDeploymentId, deployment.siteId) == ("nf/upf:v1", parent, "edge/1")
    assert [port["metadata"]["name"] for port in deployment.get_package().iter_all(PORT)] == ["n3", "n4"]
    [other] = client.create_deployments([{"merge_package_format": "yaml", "merge_package": merged}])
    assert client.get_deployment(other).get_package().get_first(PORT) is not None
    # The parent, patterns of templates, their metadata, sites, their metadata, metadata, prepared, approved, window.
    listing = client.list_deployments(None, ["nf/*:v1"], None, ["edge/*"], None, {"a": "b"}, False, False, 0, 10)
    assert [deployment.deploymentId for deployment in listing] == [id]
    assert client.purge_deployments(parent)["done"] == 1


def test_a_modification_is_a_token_and_a_deployment(client):
    id = client.create_deployment(merge_package=[port()])
    token, deployment = client.start_deployment_modification(id)
    assert token == deployment.modificationToken and deployment.deploymentId == id
    package = list(deployment.get_package())
    package.append(port("n4"))
    client.end_deployment_modification(token, "yaml", package)
    assert client.get_deployment(id).get_package()[tko.Identifier(PORT, "n4")] is not None
    with pytest.raises(AttributeError, match='a modification has no "flavour"'):
        _ = deployment.flavour
    with pytest.raises(TypeError, match="package="):
        client.end_deployment_modification(token)


def test_triggers_are_dicts(client):
    client.register_plugin("prepare", "ports", "command", ["/p.py"], triggers=[TRIGGER])
    client.register_plugin("prepare", "other", "command", None, None, None)
    assert [plugin.name for plugin in client.list_plugins("prepare", None, None, TRIGGER, 0, 10)] == ["ports"]
    assert client.count_plugins(trigger=TRIGGER) == 1
    assert client.purge_plugins("prepare", None, None, TRIGGER)["done"] == 1


def test_host_and_server_are_one_argument():
    with pytest.raises(TypeError, match="two names of one argument"):
        tko.Client("a:1", host="b:1")


# In the manner of the inventory scripts of the original.
INVENTORY = """
import os, tko, tko.ansible

patterns = os.getenv('TKO_METADATA')
if patterns:
  patterns = tko.yaml.load(patterns)

assert tko.ansible.tko_host == tko.ansible.DATA_HOST and tko.ansible.max_count == tko.ansible.MAX_COUNT
inventory = tko.ansible.Inventory()
with tko.Client(host=tko.ansible.DATA_HOST) as client:
  for listed in client.list_sites(offset=0, max_count=tko.ansible.MAX_COUNT, metadata_patterns=patterns):
    site = client.get_site(listed.siteId)
    inventory.add(site.siteId, {
      'template_id': site.templateId,
      'metadata': dict(site.metadata),
      'updated': site.updated.ToJsonString(),
      'deployment_ids': list(site.deploymentIds),
      'package': site.get_package()
    })
  for listed in client.list_sites(max_count=tko.ansible.MAX_COUNT, metadata_patterns=tko.ansible.METADATA_PATTERNS):
    site = client.get_site(listed.siteId).to_ard()
    inventory.add(site.pop('site_id') + '/ard', site)
inventory.dump()
"""


def test_inventory_scripts_run(client, address):
    for number in range(3):
        client.register_site(f"edge/{number}", metadata={"ready": "yes" if number else "no"}, package=[port()])
    id = client.create_deployment(site_id="edge/1")
    options = {"TKO_DATA_HOST": address, "TKO_METADATA": "ready: yes", "TKO_METADATA_PATTERNS": "{ready: yes}"}
    script = [sys.executable, "-c", INVENTORY]
    done = subprocess.run(script, env=os.environ | options, stdout=subprocess.PIPE, text=True, check=True)
    inventory = json.loads(done.stdout)
    assert inventory["all"] == {"hosts": ["edge/1", "edge/2", "edge/1/ard", "edge/2/ard"]}
    assert set(inventory) == {"_meta", "all"}
    host, ard = (inventory["_meta"]["hostvars"][name] for name in ("edge/1", "edge/1/ard"))
    assert host["metadata"] == {"ready": "yes"} and host["deployment_ids"] == [id]
    assert host["package"] == [port()] and host["updated"][-1] == "Z"
    assert host.items() <= ard.items()
    done = subprocess.run(
        script, env=os.environ | options | {"TKO_MAX_COUNT": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    assert list(json.loads(done.stdout)["_meta"]["hostvars"]) == ["edge/1", "edge/1/ard"]
    [listed, *_] = client.list_sites()
    with pytest.raises(AttributeError, match="without the ids of its deployments; read it with"):
        _ = listed.deploymentIds


def test_inventories_are_written_to_a_stream():
    from tko.ansible import Inventory

    inventory = Inventory()
    inventory.add("a", {"n": 1, "package": tko.Package([port()])})
    inventory.add("a", {"n": 2, "package": tko.Package([port()])})
    out = io.StringIO()
    inventory.dump(out)
    assert json.loads(out.getvalue()) == {
        "_meta": {"hostvars": {"a": {"n": 2, "package": [port()]}}},
        "all": {"hosts": ["a"]},
    }
    inventory.add("b", {"n": object()})
    with pytest.raises(TypeError, match="is of type 'object'"):
        inventory.dump(out)


def test_a_host_is_in_a_group_once_and_many_hosts_take_little_time():
    from tko.ansible import Inventory

    inventory = Inventory()
    names = [f"edge-{number}" for number in range(100_000)]
    # A search through a list for each host takes a minute.
    started = time.process_time()
    for name in [*names, *names]:
        inventory.add_host(name, groups=["edge"])
    assert time.process_time() - started < 10
    inventory.set_variables("core", rack=7)
    groups = inventory.to_dict()
    assert groups["edge"] == {"hosts": names}
    assert groups["core"] == {"hosts": [], "vars": {"rack": 7}}


def test_yaml_is_of_version_1_2():
    assert tko.yaml.load(io.StringIO("a: yes\nb: [1, x]\n")) == {"a": "yes", "b": [1, "x"]}
    assert tko.yaml.load(b"") is None
    out = io.StringIO()
    tko.yaml.dump({"a": "yes", "b": [1]}, out)
    assert tko.yaml.load(out.getvalue()) == {"a": "yes", "b": [1]}
    for text in ("a: 1\n---\nb: 1\n", "- a: 1\n", "- a: 1\n- b: 1\n", "a: ["):
        with pytest.raises(ValueError):
            tko.yaml.load(text)


@pytest.mark.parametrize("result", [False, None, 0, ""])
def test_a_function_of_a_schema_returns_what_is_false_for_a_wrong_value(result):
    schema = {"type": dict, "schema": {"n": {"type": int, "required": True, "function": lambda n: n < 10 or result}}}
    tko.validate_value("spec", {"n": 9}, True, schema)
    with pytest.raises(ValueError, match=f"spec.n: the function of the schema returned {result!r} for 10"):
        tko.validate_value("spec", {"n": 10}, True, schema)


# In the manner of the schedulers of the original.
SCHEDULER = """
import tko
from tko.tools import kind, kubectl, helm

def schedule():
  cluster = tko.get_target_resource()
  if cluster is None or tko.GVK(resource=cluster) != kind.cluster_gvk:
    return
  cluster_name = kind.get_cluster_name(cluster)
  if cluster_name not in kind.get_current_cluster_names():
    kind.write_cluster_manifest(cluster)
    kind.create_cluster(cluster_name)
  kube_context = kind.get_kube_context(cluster_name)
  for deployment in tko.get_deployments():
    cluster_package, namespaced_package = tko.meta_schedule(deployment)
    kubectl.apply(cluster_package, kube_context=kube_context)
    kubectl.apply(namespaced_package, kube_context=kube_context)
    for chart in helm.iter_charts(deployment):
      helm.install(chart, deployment, kube_context=kube_context)

tko.schedule(schedule)
"""

# `kind` has the clusters in a file, and keeps the manifest of the last one.
KIND = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ "$1" = get ]; then
    if [ -s clusters ]; then cat clusters; else echo 'No kind clusters found.' >&2; fi
else
    echo "kind $1 $2 $3 $4 $5" >> log
    echo "$4" >> clusters
    cat "$6" > manifest
fi
"""

KUBECTL = """#!/bin/sh
sed -n "s/^kind: /kubectl $1 $2 /p" >> "$(dirname "$0")/log"
"""


@pytest.mark.parametrize("executor", ["command", "worker"])
def test_a_scheduler_makes_clusters_of_kind(tmp_path, monkeypatch, executor):
    plugin = tmp_path / "schedule_kind.py"
    plugin.write_text(SCHEDULER)
    for name, text in (("kind", KIND), ("kubectl", KUBECTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}}
    for _ in range(2):
        deployments = {"d1": [pod, namespace]}
        options = {"type": "schedule", "deployments": deployments, "executor": executor}
        testing.run(str(plugin), package=[CLUSTER], **options).check()
    applied = ["kubectl --context=kind-edge apply Namespace", "kubectl --context=kind-edge apply Pod"]
    assert (tmp_path / "log").read_text().splitlines() == [
        "kind create cluster --name edge --config",
        *applied,
        *applied,
    ]
    manifest = {key: value for key, value in CLUSTER.items() if key != "metadata"}
    assert json.loads((tmp_path / "manifest").read_text()) == manifest


def test_a_cluster_has_a_name_that_kind_takes():
    from tko.tools import kind

    assert kind.get_cluster_name({"kind": "Cluster"}) == "kind"
    with pytest.raises(ValueError, match="invalid name of a cluster"):
        kind.write_cluster_manifest({"name": "../a"})


def test_helm_and_kubectl_use_the_context(tmp_path, monkeypatch):
    from tko.tools import helm, kubectl

    for name in ("helm", "kubectl"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$HELM_NAMESPACE $HELM_KUBECONTEXT" "$@"\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("HELM_NAMESPACE", "HELM_KUBECONTEXT"):
        monkeypatch.delenv(name, raising=False)
    assert helm.chart_gvk == helm.CHART
    assert helm.execute("version", kube_context="edge") == "default edge version\n"
    listed = ["default", "edge", "list", "--all-namespaces", "--deployed", "--short"]
    assert helm.get_current_deployments("edge") == listed
    # A flag before the command, and a program in a pod.
    said = kubectl.execute("-n", "web", "exec", "a", "--", "ls", kube_context="edge")
    assert said.split() == ["--context=edge", "-n", "web", "exec", "a", "--", "ls"]
