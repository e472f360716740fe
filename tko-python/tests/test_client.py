"""The client, blocking and asyncio, against an embedded server over gRPC."""

import asyncio
import pathlib
import re
import threading

import pytest

import tko

PORT = tko.GVK("example.org", "v1", "Port")


def port(name="n3", **spec):
    return {"apiVersion": "example.org/v1", "kind": "Port", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def address():
    store = tko.Store()
    with store.serve() as server:
        yield server.address


@pytest.fixture
def client(address):
    with tko.Client(address) as client:
        yield client
        client.purge_deployments()
        client.purge_templates()
        client.purge_sites()
        client.purge_plugins()


def test_the_server_describes_itself(client):
    about = client.about()
    assert about["backend"] == "memory" and about["tko_version"] == tko.__version__


def test_entities_make_the_round_trip(client):
    client.register_template("nf/upf:v1", metadata={"vendor": "a"}, package=[port(vlan=1)])
    client.register_site("edge/1", package=[])
    id = client.create_deployment(template_id="nf/upf:v1", site_id="edge/1", merge_package=[port("n4")])
    deployment = client.get_deployment(id)
    assert deployment.deployment_id == deployment.deploymentId == id
    assert deployment.template_id == "nf/upf:v1" and deployment.site_id == "edge/1"
    assert deployment.metadata["vendor"] == "a" and deployment.prepared is False
    package = deployment.get_package()
    assert [port["metadata"]["name"] for port in package.iter_all(PORT)] == ["n3", "n4"]
    ard = deployment.to_ard()
    assert ard["deployment_id"] == id and ard["version"] == deployment.version
    template = client.get_template("nf/upf:v1")
    assert template.deployment_ids == [id]
    with pytest.raises(AttributeError, match='a template has no "flavour"'):
        _ = template.flavour
    client.delete_deployment(id)
    with pytest.raises(tko.NotFound, match=id):
        client.get_deployment(id)


def test_listings_are_iterators(client):
    for number in range(25):
        client.register_site(f"edge/{number:02}", metadata={"region": "south" if number % 2 else "north"})
    assert [site.site_id for site in client.list_sites(max_count=3)] == ["edge/00", "edge/01", "edge/02"]
    assert [site.site_id for site in client.list_sites(offset=23)] == ["edge/23", "edge/24"]
    assert len(list(client.list_sites(metadata_patterns={"region": "s*"}))) == 12
    assert [site.id for site in client.list_sites(site_id_patterns=["edge/1*"])][:2] == ["edge/10", "edge/11"]
    [site] = client.list_sites(site_id_patterns=["edge/07"])
    with pytest.raises(ValueError, match="without its package"):
        site.get_package()
    [site] = client.list_sites(site_id_patterns=["edge/07"], packages=True)
    assert len(site.get_package()) == 0
    listing = client.list_sites()
    next(listing)
    listing.close()
    assert list(listing) == []
    with pytest.raises(TypeError):
        client.list_sites(site_id_patterns="edge/07")


def test_errors_have_their_kind(client):
    assert issubclass(tko.NotFound, tko.Error)
    with pytest.raises(tko.BadArgument):
        client.get_deployment("not an id!")
    with pytest.raises(tko.BadArgument) as caught:
        client.register_site(
            "edge/1",
            package=[
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "a"},
                    "data": {"n": 1},
                    "more": 2,
                }
            ],
        )
    assert len(caught.value.violations) == 2
    client.register_site("edge/1")
    with pytest.raises(tko.AlreadyExists):
        client.register_site("edge/1", expect=False)
    with pytest.raises(tko.Unavailable, match="connect"):
        tko.Client("127.0.0.1:9").about()
    with pytest.raises(tko.BadArgument):
        tko.Client("nowhere://")


def test_modifications(client):
    id = client.create_deployment(merge_package=[port()])
    modification = client.start_deployment_modification(id)
    assert modification.deployment_id == id
    with pytest.raises(tko.Busy):
        client.start_deployment_modification(id)
    package = modification.get_package()
    package[tko.Identifier(PORT, "n3")]["spec"]["vlan"] = 5
    assert client.end_deployment_modification(modification.modification_token, package=package) == id
    assert client.get_deployment(id).get_package().get_first(PORT)["spec"] == {"vlan": 5}
    modification = client.start_deployment_modification(id)
    client.cancel_deployment_modification(modification.modification_token)
    version = client.get_deployment(id).version
    client.update_deployment(id, version, [port(vlan=6)])
    with pytest.raises(tko.Conflict):
        client.update_deployment(id, version, [port(vlan=7)])
    assert [change["after"].version for change in client.history("deployment", id)][-1] < version
    assert client.count_deployments(prepared=False) == 1
    # Its work is due already.
    assert client.retry_deployment(id) == 0
    with pytest.raises(tko.NotFound):
        client.retry_site("no/such")
    version = client.get_deployment(id).version
    client.update_metadata("deployment", id, version, {"stage": "lab"})
    assert client.get_deployment(id).metadata["stage"] == "lab"
    with pytest.raises(tko.Conflict):
        client.update_metadata("deployment", id, version, {})


def test_many_deployments_are_created_in_one_call(client):
    new = [{"merge_metadata": {"number": str(number)}, "merge_package": [port()]} for number in range(300)]
    new[7] = {"template_id": "nowhere:v1"}
    created = client.create_deployments(new)
    assert len(created) == 300
    assert isinstance(created[7], tko.BadArgument)
    ids = [id for id in created if isinstance(id, str)]
    assert len(ids) == 299
    assert client.get_deployment(created[8]).metadata["number"] == "8"
    assert client.count_deployments() == 299
    with pytest.raises(TypeError, match='no "template"'):
        client.create_deployments([{"template": "a"}])


def test_everything_is_counted(client):
    client.register_template("nf/a:v1")
    client.register_template("nf/b:v1")
    client.register_site("edge/1")
    client.register_plugin("prepare", "ports", "worker", ["/p.py"])
    assert client.count_templates() == 2 and client.count_templates(["*/a:*"]) == 1
    assert client.count_templates(bound=1) == 1
    assert client.count_sites() == 1 and client.count_plugins(executor="command") == 0
    assert client.count_plugins("prepare") == 1


def test_changes_of_all_entities_are_listed(client):
    revision = client.revision()
    client.register_site("edge/1", metadata={"a": "b"})
    client.register_template("nf/a:v1")
    client.delete_site("edge/1")
    changes = [(change["kind"], change["id"]) for change in client.changes(after=revision)]
    assert changes == [("site", "edge/1"), ("template", "nf/a:v1"), ("site", "edge/1")]
    [first, _, last] = client.changes(after=revision)
    assert first["before"] is None and first["after"].metadata == {"a": "b"}
    assert last["after"] is None and last["revision"] > first["revision"]
    changes = client.changes(after=revision)
    next(changes)
    changes.close()
    assert list(changes) == []


RPCS = {
    "About": "about",
    "RegisterTemplate": "register_template",
    "RegisterSite": "register_site",
    "RegisterPlugin": "register_plugin",
    "CreateDeployment": "create_deployment",
    "CreateDeployments": "create_deployments",
    "Get": "get_deployment",
    "List": "list_deployments",
    "Count": "count_deployments",
    "Delete": "delete_deployment",
    "Purge": "purge_deployments",
    "Approve": "approve_deployments",
    "Update": "update_deployment",
    "UpdateEntity": "update_metadata",
    "StartModification": "start_deployment_modification",
    "EndModification": "end_deployment_modification",
    "CancelModification": "cancel_deployment_modification",
    "Retry": "retry_deployment",
    "Head": "revision",
    "Watch": "watch",
    "History": "history",
    "Changes": "changes",
}


def test_the_client_has_every_call_of_v1alpha2():
    proto = pathlib.Path(__file__).parent.parent.parent / "tko-grpc" / "proto" / "tko" / "v1alpha2" / "data.proto"
    assert set(re.findall(r"^  rpc (\w+)", proto.read_text("utf-8"), re.MULTILINE)) == set(RPCS)
    for name in RPCS.values():
        assert callable(getattr(tko.Client, name)) and getattr(tko.AsyncClient, name).__doc__
    for kind in ("template", "site", "deployment", "plugin"):
        for verb in ("get_{}", "list_{}s", "count_{}s", "delete_{}", "purge_{}s"):
            assert callable(getattr(tko.Client, verb.format(kind)))


def test_plugins(client):
    client.register_plugin("prepare", "ports", "worker", ["/p.py"], {"_worker.size": "2"}, [PORT])
    plugin = client.get_plugin("prepare", "ports")
    assert plugin.arguments == ["/p.py"] and plugin.triggers == [
        {"group": "example.org", "version": "v1", "kind": "Port"}
    ]
    assert [plugin.name for plugin in client.list_plugins(trigger=PORT)] == ["ports"]
    assert client.purge_plugins(executor="worker") == {"done": 1, "skipped": []}


def test_changes_are_watched(client):
    revision = client.revision()
    client.register_site("edge/1")
    client.delete_site("edge/1")
    seen = []
    for event in client.watch("site", after=revision):
        if event.type != "bookmark":
            seen.append((event.type, event.entity.id))
        if len(seen) == 2:
            break
    assert seen == [("put", "edge/1"), ("gone", "edge/1")]


def test_a_watch_can_be_closed_by_another_thread(client):
    watch = client.watch("site")
    threading.Timer(0.1, watch.close).start()
    assert [event for event in watch if event.type != "bookmark"] == []


@pytest.mark.parametrize("embedded", [False, True])
def test_a_watch_that_is_closed_while_a_reader_waits_stays_closed(client, embedded):
    data = tko.Store() if embedded else client
    watch = data.watch("site", after=data.revision())
    seen = threading.Event()

    def read():
        for event in watch:
            if event.type == "put":
                seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    data.register_site("edge/1")
    assert seen.wait(60)
    # These calls give the reader the time to wait for the next event.
    for _ in range(20):
        data.revision()
    watch.close()
    reader.join(60)
    assert not reader.is_alive()
    data.register_site("edge/2")
    assert next(watch, None) is None


def test_waits_release_the_lock_and_ctrl_c_ends_them(client, ctrl_c):
    with ctrl_c(0.2):
        for _ in client.watch("site"):
            pass


def test_asyncio(client, address):
    async def main():
        async with tko.AsyncClient(address) as client:
            await asyncio.gather(*(client.register_site(f"edge/{number}") for number in range(10)))
            revision = await client.revision()
            ids = [site.site_id async for site in client.list_sites()]
            assert ids == [f"edge/{number}" for number in range(10)]
            site = await client.get_site("edge/3")
            assert site.site_id == "edge/3"
            with pytest.raises(tko.NotFound):
                await client.get_site("edge/99")
            watch = client.watch("site", after=revision)
            await client.delete_site("edge/3")
            kinds = [change["kind"] async for change in client.changes(after=revision)]
            assert kinds == ["site"]
            assert await client.count_sites() == 9
            [created] = await client.create_deployments([{"merge_package": [port()]}])
            assert (await client.get_deployment(created)).prepared is False
            async for event in watch:
                if event.type == "gone":
                    assert event.entity.id == "edge/3"
                    break

    asyncio.run(main())
