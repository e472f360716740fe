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


def until(store, revision, kind, holds):
    """Waits until an entity is in a state; returns it."""
    watch = store.watch(kind, after=revision)
    timer = threading.Timer(60, watch.close)
    timer.start()
    try:
        for event in watch:
            if event.entity is not None and holds(event.entity):
                return event.entity
    finally:
        timer.cancel()
    raise AssertionError("it did not come to pass")


def says(entity, text):
    return any(text in condition["message"] for condition in entity.conditions)


def test_a_deployment_is_not_prepared_again_while_a_call_that_was_too_slow_still_runs():
    release, calls = threading.Event(), []

    def prepare(call):
        calls.append(call.deployment.deployment_id)
        if len(calls) == 1:
            release.wait(60)
        tko.set_prepared(call.package[call.target])
        return True

    store = tko.Store()
    revision = store.revision()
    with tko.PrepareController(store, {SLICE: prepare}, timeout=1):
        try:
            id = store.create_deployment(merge_package=[resource("Slice")])
            refused = until(store, revision, "deployment", lambda it: it.prepared or says(it, "is still running"))
            assert refused.prepared is False and calls == [id]
            # Others are prepared meanwhile.
            other = store.create_deployment(merge_package=[resource("Slice")])
            until(store, revision, "deployment", lambda it: it.id == other and it.prepared)
        finally:
            release.set()
        until(store, revision, "deployment", lambda it: it.id == id and it.prepared)
    assert calls == [id, other, id]


def test_a_site_is_not_scheduled_again_while_a_call_that_was_too_slow_still_runs():
    release, calls = threading.Event(), []

    def schedule(call):
        calls.append(call.site.site_id)
        if len(calls) == 1:
            release.wait(60)

    store = tko.Store()
    revision = store.revision()
    with tko.ScheduleController(store, {RACK: schedule}, timeout=1):
        try:
            store.register_site("edge/1", package=[resource("Rack")])
            until(store, revision, "site", lambda it: says(it, "is still running") or len(calls) > 1)
            assert calls == ["edge/1"]
        finally:
            release.set()


def test_the_time_limit_of_a_call_is_a_number_of_seconds():
    for controller in (tko.PrepareController, tko.ScheduleController):
        with pytest.raises(ValueError, match="timeout"):
            controller(tko.Store(), {}, timeout=-1)


def test_handlers_must_be_callable():
    with pytest.raises(TypeError, match="not callable"):
        tko.PrepareController(tko.Store(), {SLICE: "prepare"})
