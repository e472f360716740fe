"""Tests of plugins with pytest, and recorded calls as tests: `python -m tko.testing DIR…`.

    from tko.testing import run

    def test_a_port_gets_a_vlan(plugin_snapshot):
        result = run("prepare.py", "prepare", package="input.yaml", target=("Port", "n3"))
        assert result.prepared
        plugin_snapshot(result.package)

A recorded call is a folder with `call.json` (the input), `answer.json` (the output), and
`plugin.json` (`type`, `executor` and `arguments`): `tko plugin test --record DIR` writes it, and `tko plugin
replay DIR` runs it, as does this module.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._tko import GVK, Package

try:
    import pytest
except ImportError:  # pragma: no cover
    pytest = None  # type: ignore[assignment]

UPDATE = "TKO_UPDATE_SNAPSHOTS"


class PluginError(AssertionError):
    """The plugin reported an error, or broke the protocol."""


@dataclass
class Result:
    """The answer of one call of a plugin."""

    answer: dict[str, Any]
    stderr: str
    before: Package = field(default_factory=Package)

    @property
    def prepared(self) -> bool:
        """Whether a preparer is done."""
        return bool(self.answer.get("prepared"))

    @property
    def errors(self) -> list[str]:
        """The errors that the plugin reported."""
        error = self.answer.get("error") or []
        return [error] if isinstance(error, str) else list(error)

    @property
    def package(self) -> Package:
        """The new package of a preparer; the old one if it is not prepared."""
        return Package(self.answer["package"]) if "package" in self.answer else self.before

    def check(self) -> Result:
        """Raises PluginError if the plugin reported an error."""
        if self.errors:
            raise PluginError("\n".join(self.errors) + ("\n\n" + self.stderr if self.stderr else ""))
        return self


PackageSource = Package | str | os.PathLike[str] | Iterable[dict[str, Any]]


def read_package(source: PackageSource) -> Package:
    """A package from a file of YAML, or as it is."""
    if isinstance(source, (str, os.PathLike)):
        return Package.parse(pathlib.Path(source).read_bytes())
    return Package(source)


def find_target(package: Package, target: tuple[str, str] | None) -> dict[str, str]:
    """The protocol's identifier of the target, or of the first resource.

    A target is (KIND, NAME) or (KIND, "NAMESPACE/NAME").
    """
    for resource in package:
        name, namespace = resource["metadata"]["name"], resource["metadata"].get("namespace") or ""
        if target is None or target in ((resource["kind"], name), (resource["kind"], f"{namespace}/{name}")):
            gvk = GVK(resource=resource)
            found = {"group": gvk.group, "version": gvk.version, "kind": gvk.kind, "name": name}
            return found | ({"namespace": namespace} if namespace else {})
    raise LookupError(f"the package has no resource {target}")


def run_call(
    arguments: Sequence[str],
    call: dict[str, Any],
    timeout: float = 30.0,
    *,
    executor: str = "command",
    type: str = "prepare",
) -> Result:
    """Runs a plugin once with this input document, as `command` or as a `worker`."""
    first = str(arguments[0])
    command = [sys.executable, *map(str, arguments)] if first.endswith(".py") else [*map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "TKO_WORKER"}
    document = json.dumps(call).encode()
    if executor == "worker":
        environment["TKO_WORKER"] = "1"
        document = _conversation(type, document)
    elif executor != "command":
        raise ValueError(f"unknown executor {executor!r}; expected command or worker")
    done = subprocess.run(
        command,
        input=document,
        capture_output=True,
        timeout=timeout,
        check=False,
        env=environment,
    )
    stderr = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise PluginError(f"{first} exited with code {done.returncode}\n{stderr}")
    output = done.stdout
    if executor == "worker":
        output, log = _answer_of_worker(first, output, stderr)
        stderr += log
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise PluginError(f"the answer of {first} is not JSON: {error}\n{stderr}") from None
    return Result(answer, stderr)


def _frame(kind: str, number: int, body: bytes = b"") -> bytes:
    return b"%s %d %d\n%s" % (kind.encode(), number, len(body), body)


def _conversation(type: str, document: bytes) -> bytes:
    """The frames of one call: a worker answers the calls that it has before it stops."""
    hello = {"protocol": 1, "plugin": f"{type}|test", "type": type, "inFlight": 1, "maximumBytes": 32 << 20}
    frames = [_frame("hello", 0, json.dumps(hello).encode()), _frame("call", 1, document), _frame("stop", 0)]
    return b"".join(frames)


def _answer_of_worker(name: str, output: bytes, stderr: str) -> tuple[bytes, str]:
    """The answer in the frames of a worker, and its log lines."""
    answer, log = None, ""
    while output:
        line, _, rest = output.partition(b"\n")
        try:
            kind, _number, length = line.split()
            body, output = rest[: int(length)], rest[int(length) :]
        except ValueError:
            shown = line[:100].decode(errors="replace")
            raise PluginError(f"{name} wrote {shown!r} to stdout, where a frame should begin\n{stderr}") from None
        if kind == b"answer":
            answer = body
        elif kind == b"log":
            log += body.decode(errors="replace").rstrip("\n") + "\n"
    if answer is None:
        raise PluginError(f"{name} ended without an answer\n{stderr}{log}")
    return answer, log


def run(
    *arguments: str,
    type: str = "prepare",
    package: PackageSource = (),
    target: tuple[str, str] | None = None,
    deployments: dict[str, PackageSource] | None = None,
    removed_deployments: dict[str, PackageSource] | None = None,
    complete: bool = True,
    timeout: float = 30.0,
    executor: str = "command",
) -> Result:
    """Runs a plugin once, as the executor `command` or `worker` does, and returns its answer.

    `target` is (KIND, NAME) or (KIND, "NAMESPACE/NAME"); by default, the first resource is the target.
    """
    before = read_package(package)
    call: dict[str, Any] = {
        "grpc": {"level2protocol": "", "address": "", "port": 0},
        "logFile": "",
        "logAddressPort": "",
        "targetResourceIdentifier": find_target(before, target) if len(before) else {},
    }
    if type == "prepare":
        call |= {"deploymentId": "test", "deploymentPackage": before.to_list()}
    elif type == "validate":
        call |= {"package": before.to_list(), "complete": complete}
    elif type == "schedule":
        call |= {
            "siteId": "test",
            "sitePackage": before.to_list(),
            "deployments": {id: read_package(p).to_list() for id, p in (deployments or {}).items()},
            "removedDeployments": {id: read_package(p).to_list() for id, p in (removed_deployments or {}).items()},
        }
    else:
        raise ValueError(f"unknown type {type!r}; expected prepare, validate or schedule")
    result = run_call(arguments, call, timeout, executor=executor, type=type)
    result.before = before
    return result


def difference(expected: str, found: str, name: str) -> str:
    """The difference of two texts, empty if they are equal."""
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), f"{name} (expected)", f"{name} (found)", lineterm=""
    )
    return "\n".join(lines)


def shown(answer: dict[str, Any]) -> str:
    """An answer as text that is easy to compare. Keys that say nothing are left out."""
    error = answer.get("error") or []
    # Several errors are recorded as one text.
    joined = "; ".join(text for text in ([error] if isinstance(error, str) else error) if text)
    rest = {"error": joined} if joined else {"prepared": True} if answer.get("prepared") else {}
    text = json.dumps(rest, indent=2, sort_keys=True) + "\n"
    has_package = rest.get("prepared") is True and "package" in answer
    return text + str(Package(answer["package"])) if has_package else text


def replay(folder: str | os.PathLike[str], timeout: float = 30.0) -> None:
    """Runs a recorded call again; raises PluginError with the difference if the answer differs."""
    path = pathlib.Path(folder)
    plugin = json.loads((path / "plugin.json").read_text("utf-8"))
    call = json.loads((path / "call.json").read_text("utf-8"))
    expected = json.loads((path / "answer.json").read_text("utf-8"))
    executor, type = plugin.get("executor", "command"), plugin.get("type", "prepare")
    result = run_call(plugin["arguments"], call, timeout, executor=executor, type=type)
    text = difference(shown(expected), shown(result.answer), str(path))
    if text:
        raise PluginError(text)


def records(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The recorded calls in a folder, and in the folders below it."""
    return sorted(file.parent for file in pathlib.Path(folder).rglob("call.json"))


def snapshot(package: Package, file: pathlib.Path) -> None:
    """Compares a package with a file of YAML. Writes the file if it is missing, or to update it."""
    found = str(package)
    if os.environ.get(UPDATE) or not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found, "utf-8")
        return
    text = difference(file.read_text("utf-8"), found, file.name)
    if text:
        raise PluginError(f"{text}\n\nset {UPDATE}=1 to accept this")


if pytest is not None:

    @pytest.fixture
    def plugin_snapshot(request: pytest.FixtureRequest) -> Callable[[Package], None]:
        """Compares a package with `snapshots/TEST.yaml` next to the test."""
        folder = request.path.parent / "snapshots"
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in request.node.name)

        def compare(package: Package) -> None:
            snapshot(package, folder / f"{name}.yaml")

        return compare


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the recorded calls in folders."""
    parser = argparse.ArgumentParser(prog="python -m tko.testing", description="Run recorded calls of plugins")
    parser.add_argument("folder", nargs="+", help="a folder with recorded calls")
    parser.add_argument("--timeout", type=float, default=30.0, help="time limit of a call in seconds")
    parsed = parser.parse_args(arguments)
    failed = total = 0
    for folder in parsed.folder:
        for record in records(folder):
            total += 1
            try:
                replay(record, parsed.timeout)
                print(f"ok      {record}")
            except (PluginError, ValueError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED  {record}\n{error}")
    print(f"{total - failed} of {total} calls as recorded")
    return 1 if failed or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
