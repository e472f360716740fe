"""The whole orchestrator in a process, with handlers in Python."""

import threading

import tko

SLICE = tko.GVK("example.org", "v1", "Slice")
RACK = tko.GVK("example.org", "v1", "Rack")


def resource(kind, **spec):
    return {"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


def test_a_deployment_gets_to_its_site():
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

    store = tko.Store()
    with tko.PrepareController(store, {SLICE: prepare}), tko.ScheduleController(store, {RACK: schedule}):
        store.register_site("edge/1", package=[resource("Rack")])
        id = store.create_deployment(site_id="edge/1", merge_package=[resource("Slice")])
        assert placed.wait(60)
    assert told[0] == ("edge/1", 17)
    assert store.get_deployment(id).prepared is True


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
    try:
        tko.PrepareController(tko.Store(), {SLICE: "prepare"})
    except TypeError as error:
        assert "not callable" in str(error)
    else:
        raise AssertionError
