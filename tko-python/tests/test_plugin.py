"""Scripts under `command` and `worker`: the same script, the same answers."""

import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import threading

import pytest

import tko
from tko import testing

PLUGINS = pathlib.Path(__file__).parent / "plugins"
POOL = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pool"}, "data": {"first": "17"}}


def port(**spec):
    return {"apiVersion": "example.org/v1", "kind": "Port", "metadata": {"name": "n3"}, "spec": spec}


def call(resources):
    package = tko.Package(resources)
    return {
        "grpc": {"level2protocol": "", "address": "", "port": 0},
        "logFile": "",
        "logAddressPort": "",
        "targetResourceIdentifier": testing.find_target(package, ("Port", "n3")),
        "deploymentId": "d1",
        "deploymentPackage": package.to_list(),
    }


class Worker:
    """The controller's side of the worker protocol."""

    def __init__(self, script):
        environment = os.environ | {"TKO_WORKER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, PLUGINS / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.frames = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.send("hello", 0, {"protocol": 1, "plugin": "prepare|a", "type": "prepare", "inFlight": 4})
        kind, _, body = self.receive()
        assert kind == "hello"
        self.hello = json.loads(body)

    def _read(self):
        while line := self.process.stdout.readline():
            kind, number, length = line.split()
            self.frames.put((kind.decode(), int(number), self.process.stdout.read(int(length))))
        self.frames.put(None)

    def send(self, kind, number, body=None):
        body = b"" if body is None else json.dumps(body).encode()
        self.process.stdin.write(b"%s %d %d\n%s" % (kind.encode(), number, len(body), body))
        self.process.stdin.flush()

    def receive(self):
        return self.frames.get(timeout=30)

    def answer(self, number, resources):
        """The answer of a call, and its log."""
        self.send("call", number, call(resources))
        return self.wait(number)

    def wait(self, number):
        log = ""
        while True:
            kind, answered, body = self.receive()
            assert answered == number
            if kind == "log":
                log += body.decode() + "\n"
            else:
                assert kind == "answer"
                return json.loads(body), log

    def stop(self):
        self.send("stop", 0)
        assert self.process.wait(30) == 0
        return self.process.stderr.read().decode()


@pytest.fixture(params=["command", "worker"])
def answer(request):
    """Makes one call of prepare.py; returns its answer and log."""
    if request.param == "command":

        def run(*resources):
            result = testing.run_call([str(PLUGINS / "prepare.py")], call(resources))
            return result.answer, result.stderr

        yield run
    else:
        worker = Worker("prepare.py")
        yield lambda *resources: worker.answer(1, resources)
        worker.stop()


def test_a_preparer_changes_its_package(answer):
    answer, log = answer(POOL, port(mtu=9000))
    assert answer["prepared"] is True and answer.get("error") is None
    assert answer["package"] == [
        POOL,
        port(mtu=9000, vlan=17) | {"metadata": {"name": "n3", "annotations": {"nephio.org/prepared": "true"}}},
    ]
    assert "d1: " in log


@pytest.mark.parametrize("namespaces", [("a", "b"), ("b", "a"), (None, "a"), ("a", None)])
def test_ports_of_one_name_are_told_apart_by_their_namespaces(answer, namespaces):
    ports = [port(mtu=9000) | {"metadata": {"name": "n3"} | ({"namespace": n} if n else {})} for n in namespaces]
    # The first one is the target.
    answer, _ = answer(POOL, *ports)
    assert answer.get("error") is None
    assert ["vlan" in resource["spec"] for resource in answer["package"][1:]] == [True, False]


def test_a_target_can_be_named_with_its_namespace():
    ports = [port() | {"metadata": {"name": "n3", "namespace": n}} for n in ("a", "b")]
    result = testing.run(str(PLUGINS / "prepare.py"), package=[POOL, *ports], target=("Port", "b/n3")).check()
    assert ["vlan" in resource["spec"] for resource in list(result.package)[1:]] == [False, True]


def test_not_yet_says_what_it_waits_for(answer):
    answer, log = answer(port())
    assert answer == {"prepared": False}
    assert "waiting for the pool" in log


def test_an_exception_is_the_error_and_its_traceback_is_logged(answer):
    answer, log = answer(POOL, port(behaviour="raise"))
    assert answer["error"].startswith("ValueError: no VLAN left (prepare.py, line ")
    assert answer["error"].endswith(", in prepare)")
    assert "Traceback (most recent call last)" in log


def test_what_a_plugin_prints_is_no_answer(answer):
    answer, _ = answer(POOL, port(behaviour="print"))
    assert answer["prepared"] is True


@pytest.mark.parametrize("executor", ["command", "worker"])
def test_what_a_plugin_prints_before_it_crashes_is_logged(executor, monkeypatch):
    # With it, Python has no buffer at all.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    document = call([POOL, port(behaviour="crash")])
    if executor == "command":
        script = [sys.executable, PLUGINS / "prepare.py"]
        done = subprocess.run(script, input=json.dumps(document), capture_output=True, text=True, check=False)
        code, stderr = done.returncode, done.stderr
    else:
        worker = Worker("prepare.py")
        worker.send("call", 1, document)
        code, stderr = worker.process.wait(30), worker.process.stderr.read().decode()
    assert code == 3
    assert "about to crash\n" in stderr


def test_an_invalid_package_is_an_error_with_its_place(answer):
    answer, _ = answer(POOL, port(behaviour="set"))
    assert "spec.value: a set cannot be part of a resource" in answer["error"]


def test_sys_exit_with_a_text_is_an_error(answer):
    answer, _ = answer(POOL, port(behaviour="exit"))
    assert answer["error"].startswith("SystemExit: gave up")


def test_a_worker_serves_many_calls_in_one_process():
    worker = Worker("prepare.py")
    assert worker.hello["protocol"] == 1 and worker.hello["types"] == ["prepare"]
    logs = [worker.answer(number, [POOL, port()])[1] for number in range(1, 50)]
    assert logs == [f"d1: {worker.process.pid}\n"] * 49
    assert worker.stop() == ""


def test_a_hanging_call_is_cancelled_and_the_next_one_works():
    worker = Worker("prepare.py")
    worker.send("call", 1, call([POOL, port(behaviour="hang")]))
    # A health check is answered during the call.
    worker.send("ping", 0)
    assert worker.receive()[0] == "pong"
    worker.send("call", 2, call([POOL, port(behaviour="hang")]))
    worker.send("cancel", 2)
    worker.send("cancel", 1)
    assert worker.wait(1)[0] == {"error": "the call was cancelled"}
    assert worker.wait(2)[0] == {"error": "the call was cancelled"}
    assert worker.answer(3, [POOL, port()])[0]["prepared"]
    worker.stop()


def test_a_worker_ends_with_its_stdin():
    worker = Worker("prepare.py")
    worker.process.stdin.close()
    assert worker.process.wait(30) == 0


def test_a_validator_raises():
    def errors(complete, **spec):
        script = str(PLUGINS / "validate.py")
        return testing.run(script, type="validate", package=[port(**spec)], complete=complete).errors

    assert errors(True, vlan=1) == []
    assert errors(False) == []
    assert errors(True)[0].startswith("ValueError: spec.vlan: required")
    assert errors(False, lan=1)[0].startswith("ValueError: spec.lan: unknown key; expected vlan, name")


def test_a_scheduler_sees_the_packages():
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}}
    own = {"apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment", "metadata": {"name": "deployment"}}
    result = testing.run(
        str(PLUGINS / "schedule.py"),
        type="schedule",
        package=[port()],
        deployments={"d1": [own, pod, namespace]},
        removed_deployments={"d2": [pod]},
    )
    assert result.check().errors == []
    assert result.stderr == "apply 1 and 1 to n3\ndelete 1\n"


KUBECTL = """#!/bin/sh
input=$(cat)
if printf '%s\\n' "$input" | grep -q '^apiVersion: .*nephio.org'; then
    echo 'no matches for kind "Deployment"' >&2
    exit 1
fi
printf '%s\\n' "$input" | sed -n "s/^kind: /$1 $2 /p" >> "$(dirname "$0")/log"
"""


def test_the_scheduler_of_the_guide_removes_and_applies(tmp_path, monkeypatch):
    guide = pathlib.Path(__file__).parent.parent.parent / "docs" / "plugins.md"
    blocks = guide.read_text("utf-8").split("```python\n")
    [script] = [block.partition("```")[0] for block in blocks if "# cluster.py\n" in block]
    plugin, program = tmp_path / "cluster.py", tmp_path / "kubectl"
    plugin.write_text(script)
    program.write_text(KUBECTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    own = {"apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment", "metadata": {"name": "deployment"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"}}
    testing.run(
        str(plugin),
        type="schedule",
        package=[port(context="edge")],
        deployments={"d1": [own, pod, namespace]},
        removed_deployments={"d2": [own, pod, namespace]},
    ).check()
    assert (tmp_path / "log").read_text().splitlines() == [
        "--context=edge delete Pod",
        "--context=edge delete Namespace",
        "--context=edge apply Namespace",
        "--context=edge apply Pod",
    ]


def test_functions_of_a_call_need_a_call():
    with pytest.raises(RuntimeError, match="no call"):
        tko.get_output_package()


def test_programs_are_executed():
    assert tko.execute("sh", "-c", "echo $A", env={"A": "b"}) == "b\n"
    with pytest.raises(tko.ExecuteError, match="oh no"):
        tko.execute("sh", "-c", "echo oh no >&2; exit 1")


def test_output_that_is_not_utf_8_is_shown():
    assert tko.execute("sh", "-c", r"printf 'a\377b'") == "a\ufffdb"
    with pytest.raises(tko.ExecuteError, match="oh\ufffd no"):
        tko.execute("sh", "-c", r"printf 'oh\377 no' >&2; exit 1")


def test_recorded_calls_are_tests(tmp_path, capsys):
    record = tmp_path / "one"
    record.mkdir()
    script = str(PLUGINS / "prepare.py")
    answer = testing.run_call([script], call([POOL, port()])).answer
    (record / "plugin.json").write_text(json.dumps({"type": "prepare", "arguments": [script]}))
    (record / "call.json").write_text(json.dumps(call([POOL, port()])))
    (record / "answer.json").write_text(json.dumps(answer))
    assert testing.main([str(tmp_path)]) == 0
    answer["package"][1]["spec"]["vlan"] = 18
    (record / "answer.json").write_text(json.dumps(answer))
    assert testing.main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "-  vlan: 18" in out and "+  vlan: 17" in out


@pytest.mark.parametrize("executor", ["command", "worker"])
def test_calls_are_made_under_either_executor(executor):
    options = {"package": [POOL, port()], "target": ("Port", "n3"), "executor": executor}
    result = testing.run(str(PLUGINS / "prepare.py"), **options).check()
    assert result.prepared and result.package[1]["spec"]["vlan"] == 17
    assert "test: " in result.stderr
    options["package"] = [POOL, port(behaviour="crash")]
    with pytest.raises(testing.PluginError, match="exited with code 3"):
        testing.run(str(PLUGINS / "prepare.py"), **options)
    with pytest.raises(ValueError, match="unknown executor"):
        testing.run("a", executor="kpt")


def test_what_is_no_frame_is_shown(tmp_path):
    script = tmp_path / "plugin.py"
    script.write_text("print('Hello, world!')")
    with pytest.raises(testing.PluginError, match="'Hello, world!' to stdout, where a frame should begin"):
        testing.run(str(script), package=[port()], executor="worker")
    script.write_text("")
    with pytest.raises(testing.PluginError, match="ended without an answer"):
        testing.run(str(script), package=[port()], executor="worker")


def test_the_example_in_node_is_a_worker():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = pathlib.Path(__file__).parent.parent.parent / "examples" / "plugins" / "worker.js"
    result = testing.run("node", str(script), package=[port()], executor="worker").check()
    assert result.prepared


def test_snapshots_are_compared(tmp_path, plugin_snapshot):
    result = testing.run(str(PLUGINS / "prepare.py"), package=[POOL, port()], target=("Port", "n3"))
    plugin_snapshot(result.package)
    file = tmp_path / "a.yaml"
    testing.snapshot(result.package, file)
    testing.snapshot(result.package, file)
    file.write_text("other")
    with pytest.raises(testing.PluginError, match="-other"):
        testing.snapshot(result.package, file)


def test_helm_commands_have_evaluated_parameters():
    from tko.tools import helm

    chart = {
        "apiVersion": "workload.nephio.org/v1alpha1",
        "kind": "HelmChart",
        "metadata": {"name": "upf"},
        "spec": {
            "chart": "oci://r/upf",
            "version": "1.2",
            "parameters": {"vlan": "{{ get('', 'v1', 'ConfigMap').data.first }}"},
        },
    }
    package = tko.Package([chart, POOL])
    [found] = helm.iter_charts(package)
    assert helm.arguments(found, package, "kind-a") == [
        "helm",
        "upgrade",
        "upf",
        "oci://r/upf",
        "--install",
        "--version=1.2",
        "--namespace=default",
        "--create-namespace",
        "--kube-context=kind-a",
        '--set-json=vlan="17"',
    ]
