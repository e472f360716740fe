"""Scripts with the SDK as plugins of `tko up`, and the workbench."""

import json
import pathlib
import re
import subprocess
import sys
import threading

import pytest

import tko
from tko import testing

PLUGINS = pathlib.Path(__file__).parent / "plugins"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
POOL = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pool"}, "data": {"first": "17"}}
PORT = tko.GVK("example.org", "v1", "Port")


def port(**spec):
    return {"apiVersion": "example.org/v1", "kind": "Port", "metadata": {"name": "n3"}, "spec": spec}


def condition(deployment):
    """The messages of a deployment's conditions."""
    return " ".join(c["message"] for c in deployment.conditions)


@pytest.mark.parametrize("executor", ["command", "worker"])
def test_a_script_finds_the_sdk_of_its_interpreter(up, executor):
    server = up()
    with tko.Client(server.address) as client:
        client.register_plugin("prepare", "ports", executor, [str(PLUGINS / "prepare.py")], triggers=[PORT])
        good = client.create_deployment(merge_package=[POOL, port(mtu=9000)])
        bad = client.create_deployment(merge_package=[POOL, port(behaviour="raise")])
        server.until(good, lambda deployment: deployment.prepared)
        assert client.get_deployment(good).get_package().get_first(PORT)["spec"] == {"mtu": 9000, "vlan": 17}
        # Within a call, Client() connects to the server of the call.
        calling = client.create_deployment(merge_package=[POOL, port(behaviour="client")])
        server.until(calling, lambda deployment: deployment.prepared)
        spec = client.get_deployment(calling).get_package().get_first(PORT)["spec"]
        assert spec["seen"] == calling
        words = "prepare|ports: the plugin reported: ValueError: no VLAN left (prepare.py, line "
        failed = server.until(bad, lambda deployment: words in condition(deployment))
        assert failed.prepared is False
        assert client.get_deployment(bad).get_package().get_first(PORT)["spec"] == {"behaviour": "raise"}
        # A condition can be seen before the log is read.
        server.logged("Traceback (most recent call last)")
        server.logged("ValueError: no VLAN left")


def blocks(text):
    """The fenced blocks of a page: their language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_guide_is_true(up, tmp_path):
    folder = tmp_path / "guide"
    folder.mkdir()
    guide = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    commands = []
    for language, text in blocks(guide):
        lines = text.splitlines()
        named = next((line[2:] for line in lines[:2] if re.fullmatch(r"# [\w-]+\.\w+", line)), None)
        if named:
            (folder / named).write_text(text)
            (folder / named).chmod(0o755)
        elif language == "text" and lines[0].startswith(("tko plugin register", "$ tko plugin test")):
            commands.append((lines[0].removeprefix("$ "), lines[1:]))
    assert {"port.py", "package.yaml", "cluster.py", "notebook.py"} <= {file.name for file in folder.iterdir()}
    server = up()
    kinds = []
    for command, printed in commands:
        words = command.replace('"$PWD/', f'"{folder}/').replace('"', "").split()[1:]
        output = server.tko(*words, cwd=folder)
        for line in printed:
            if not line.startswith("prepared in "):
                assert line in output.splitlines(), f"{command}: {line}\n{output}"
        kinds.append(words[1])
        if words[1] == "register":
            with tko.Client(server.address) as client:
                package = tko.Package.parse((folder / "package.yaml").read_bytes())
                id = client.create_deployment(merge_package=package)
                server.until(id, lambda deployment: deployment.prepared)
                assert client.get_deployment(id).get_package().get_first(PORT)["spec"]["vlan"] == 17
    assert kinds == ["test", "register", "register"]
    notebook = [sys.executable, folder / "notebook.py"]
    done = subprocess.run(notebook, capture_output=True, text=True, timeout=60, check=True)
    assert "vlan: 17" in done.stdout
    # A program in place of kubectl, which keeps its arguments.
    site = {"apiVersion": "example.org/v1", "kind": "Cluster", "metadata": {"name": "a"}, "spec": {"context": "a"}}
    fake = folder / "kubectl"
    fake.write_text('#!/bin/sh\ncat >/dev/null\necho "$@" >> calls\n')
    fake.chmod(0o755)
    call = {"deployments": {"d1": [POOL]}, "removed_deployments": {"d2": [POOL]}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        testing.run(str(folder / "cluster.py"), type="schedule", package=[site], **call).check()
    assert "apply" in (folder / "calls").read_text() and "delete" in (folder / "calls").read_text()


def test_the_skeleton_passes_its_own_test(program, tmp_path):
    run = [program, "plugin", "new", "python", "vlan", str(tmp_path / "vlan")]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "vlan")]
    done = subprocess.run(tests, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("executor", ["command", "worker"])
def test_calls_that_tko_recorded_are_replayed_in_python(program, tmp_path, executor):
    input = tmp_path / "input.yaml"
    input.write_text(str(tko.Package([POOL, port()])))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(str(tko.Package([POOL, port(lan=1)])))

    def test(type, script, package, *more):
        command = [program, "plugin", "test", "--type", type, "-e", executor, "--input", str(package), *more]
        command += ["--target", "Port/n3", "--record", str(tmp_path / "calls"), str(PLUGINS / script)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)

    environment = {"PATH": f"{pathlib.Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    prepared = test("prepare", "prepare.py", input)
    assert prepared.returncode == 0 and "+  vlan: 17" in prepared.stdout, prepared.stderr
    refused = test("validate", "validate.py", wrong)
    assert refused.returncode != 0 and "unknown key; expected vlan, name" in refused.stderr, refused.stderr
    partial = test("validate", "validate.py", input, "--partial")
    assert partial.returncode == 0 and "valid, checked in" in partial.stderr, partial.stderr
    scheduled = test("schedule", "schedule.py", input, "--run", str(input))
    assert scheduled.returncode == 0 and "apply" in scheduled.stderr, scheduled.stderr
    replay = [sys.executable, "-m", "tko.testing", str(tmp_path / "calls")]
    done = subprocess.run(replay, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "4 of 4 calls as recorded" in done.stdout, done.stdout + done.stderr
    answer = next((tmp_path / "calls").glob("*/answer.json"))
    recorded = json.loads(answer.read_text())
    recorded["error"] = "something else"
    answer.write_text(json.dumps(recorded))
    done = subprocess.run(replay, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "3 of 4 calls as recorded" in done.stdout, done.stdout + done.stderr


def test_controllers_in_python_work_for_a_server(up):
    # Without its own preparer, which would find nothing to prepare.
    server = up(command=["data", "start"])
    prepared = threading.Event()

    class Preparer:
        def prepare(self, call):
            call.package[call.target]["spec"]["vlan"] = 18
            tko.set_prepared(call.package[call.target])
            prepared.set()
            return True

    with tko.Client(server.address) as client, tko.PrepareController(client, {PORT: Preparer}):
        id = client.create_deployment(merge_package=[port()])
        assert prepared.wait(60)
        server.until(id, lambda deployment: deployment.prepared)
        assert client.get_deployment(id).get_package().get_first(PORT)["spec"]["vlan"] == 18
