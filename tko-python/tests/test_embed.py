"""The whole orchestrator in a process, with handlers in Python."""

import subprocess
import sys
import threading

import pytest

import tko

SLICE = tko.GVK("example.org", "v1", "Slice")
RACK = tko.GVK("example.org", "v1", "Rack")


def resource(kind, **spec):
    return {"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


@pytest.fixture(params=["memory", "postgresql"])
def store(request):
    """A store of each backend."""
    return tko.Store() if request.param == "memory" else tko.Store(request.getfixturevalue("postgres"))


def test_a_deployment_gets_to_its_site(store):
    placed = threading.Event()
    told = []

    def prepare(call):
        assert call.deployment.deployment_id
        resource = call.package[call.target]
        resource["spec"]["vlan"] = 17
        tko.set_prepared(resource)
        return True

    def schedule(call):
        for package in call.deployments.values():
            told.append((call.site.site_id, package.get_first(SLICE)["spec"]["vlan"]))
            placed.set()

    with tko.PrepareController(store, {SLICE: prepare}), tko.ScheduleController(store, {RACK: schedule}):
        store.register_site("edge/1", package=[resource("Rack")])
        id = store.create_deployment(site_id="edge/1", merge_package=[resource("Slice")])
        assert placed.wait(60)
    assert told[0] == ("edge/1", 17)
    assert store.get_deployment(id).prepared is True


class SlicePreparer:
    """A preparer with its own state."""

    def __init__(self, first=17):
        self.next = first
        self.done = threading.Event()

    def prepare(self, call):
        resource = call.package[call.target]
        resource["spec"]["vlan"] = self.next
        self.next += 1
        tko.set_prepared(resource)
        self.done.set()
        return True


class RackScheduler:
    """A scheduler that records its calls."""

    placed = threading.Event()

    def schedule(self, call):
        if call.deployments:
            RackScheduler.placed.set()


def test_handlers_may_be_classes_and_objects():
    store = tko.Store()
    preparer = SlicePreparer(100)
    with tko.PrepareController(store, {SLICE: preparer}), tko.ScheduleController(store, {RACK: RackScheduler}):
        store.register_site("edge/1", package=[resource("Rack")])
        id = store.create_deployment(site_id="edge/1", merge_package=[resource("Slice")])
        assert preparer.done.wait(60) and RackScheduler.placed.wait(60)
    assert store.get_deployment(id).get_package().get_first(SLICE)["spec"]["vlan"] == 100


def test_a_store_is_shared_by_processes(postgres):
    store = tko.Store(postgres)
    store.register_site("shared/1")
    code = "import sys, tko; print([site.site_id for site in tko.Store(sys.argv[1]).list_sites()])"
    done = subprocess.run([sys.executable, "-c", code, postgres], capture_output=True, text=True, timeout=60, check=True)
    assert "shared/1" in done.stdout
    with pytest.raises(ValueError, match="unknown backend"):
        tko.Store("mysql://a")


def test_an_exception_is_a_condition(capfd):
    def prepare(call):
        raise LookupError("no pool left")

    failed = threading.Event()
    store = tko.Store()
    with tko.PrepareController(store, {SLICE: prepare}):
        revision = store.revision()
        id = store.create_deployment(merge_package=[resource("Slice")])
        messages = []
        for event in store.watch("deployment", after=revision):
            if event.entity is not None:
                messages = [c["message"] for c in event.entity.conditions]
                if any("LookupError: no pool left" in message for message in messages):
                    failed.set()
                    break
    assert failed.is_set() and store.get_deployment(id).prepared is False


def test_handlers_must_be_callable():
    with pytest.raises(TypeError, match="not callable"):
        tko.PrepareController(tko.Store(), {SLICE: "prepare"})
