"""Calls every method of the compatible service, as an existing client does.

Stubs come from plain grpcio-tools and are on the path. Argument: HOST:PORT.
"""

import json
import sys

import grpc
import tko_pb2 as tko
import tko_pb2_grpc
from google.protobuf.empty_pb2 import Empty

YAML = b"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  answer: yes
"""

called = set()


class Recorder:
    """The stub; remembers which methods were called."""

    def __init__(self, stub):
        self.stub = stub

    def __getattr__(self, name):
        called.add(name)
        return getattr(self.stub, name)


def expect_code(code, call, *arguments):
    try:
        answer = call(*arguments)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"expected {code}")


def templates(data):
    for name in ("nf/a:v1", "nf/b:v1"):
        answer = data.registerTemplate(
            tko.Template(
                templateId=name,
                metadata={"colour": "blue"},
                packageFormat="yaml",
                package=YAML,
            )
        )
        assert answer.registered and not answer.notRegisteredReason
    listed = list(data.listTemplates(tko.ListTemplates()))
    assert [t.templateId for t in listed] == ["nf/a:v1", "nf/b:v1"]
    listed = list(
        data.listTemplates(
            tko.ListTemplates(
                window=tko.Window(offset=1, maxCount=5),
                select=tko.SelectTemplates(
                    templateIdPatterns=["nf/*:v1"], metadataPatterns={"colour": "b*"}
                ),
            )
        )
    )
    assert [t.templateId for t in listed] == ["nf/b:v1"]
    got = data.getTemplate(tko.GetTemplate(templateId="nf/a:v1", preferredPackageFormat="json"))
    assert got.packageFormat == "json"
    # A program's YAML: yes is text.
    assert json.loads(got.package)[0]["data"]["answer"] == "yes"
    assert got.metadata["colour"] == "blue"
    assert got.updated.seconds > 0
    assert data.getTemplate(tko.GetTemplate(templateId="nf/a:v1")).packageFormat == "cbor"
    assert data.deleteTemplate(tko.TemplateID(templateId="nf/b:v1")).deleted
    expect_code(
        grpc.StatusCode.NOT_FOUND, data.deleteTemplate, tko.TemplateID(templateId="nf/b:v1")
    )


def sites(data):
    assert data.registerSite(
        tko.Site(siteId="india/1", templateId="nf/a:v1", metadata={"cloud": "edge"})
    ).registered
    assert data.registerSite(tko.Site(siteId="india/2")).registered
    got = data.getSite(tko.GetSite(siteId="india/1", preferredPackageFormat="yaml"))
    assert got.templateId == "nf/a:v1" and b"settings" in got.package
    listed = list(
        data.listSites(
            tko.ListSites(
                select=tko.SelectSites(
                    siteIdPatterns=["india/*"], metadataPatterns={"cloud": "edge"}
                )
            )
        )
    )
    assert [s.siteId for s in listed] == ["india/1"]
    assert data.deleteSite(tko.SiteID(siteId="india/2")).deleted


def deployments(data):
    created = data.createDeployment(
        tko.CreateDeployment(
            templateId="nf/a:v1", siteId="india/1", mergeMetadata={"k": "v"}
        )
    )
    assert created.created
    parent = created.deploymentId
    child = data.createDeployment(
        tko.CreateDeployment(
            parentDeploymentId=parent,
            templateId="nf/a:v1",
            mergePackageFormat="json",
            mergePackage=json.dumps(
                [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}]
            ).encode(),
            prepared=True,
            approved=True,
        )
    ).deploymentId
    got = data.getDeployment(
        tko.GetDeployment(deploymentId=child, preferredPackageFormat="json")
    )
    assert got.parentDeploymentId == parent and got.prepared and got.approved
    kinds = [r["kind"] for r in json.loads(got.package)]
    assert sorted(kinds) == ["ConfigMap", "Deployment", "Secret"]
    assert got.metadata["colour"] == "blue"
    listed = list(
        data.listDeployments(
            tko.ListDeployments(
                select=tko.SelectDeployments(parentDeploymentId=parent, approved=True)
            )
        )
    )
    assert [d.deploymentId for d in listed] == [child]
    everything = list(data.listDeployments(tko.ListDeployments()))
    assert [d.deploymentId for d in everything] == [parent, child]
    template = data.getTemplate(tko.GetTemplate(templateId="nf/a:v1"))
    assert list(template.deploymentIds) == [parent, child]

    started = data.startDeploymentModification(
        tko.StartDeploymentModification(deploymentId=parent, preferredPackageFormat="yaml")
    )
    assert started.started
    error = expect_code(
        grpc.StatusCode.ABORTED,
        data.startDeploymentModification,
        tko.StartDeploymentModification(deploymentId=parent),
    )
    assert "busy" in error.details()
    ended = data.endDeploymentModification(
        tko.EndDeploymentModification(
            modificationToken=started.modificationToken,
            packageFormat=started.packageFormat,
            package=started.package.replace(b"yes", b"no"),
        )
    )
    assert ended.modified and ended.deploymentId == parent
    started = data.startDeploymentModification(
        tko.StartDeploymentModification(deploymentId=parent, preferredPackageFormat="json")
    )
    assert b'"no"' in started.package
    assert data.cancelDeploymentModification(
        tko.CancelDeploymentModification(modificationToken=started.modificationToken)
    ).cancelled
    expect_code(
        grpc.StatusCode.NOT_FOUND,
        data.cancelDeploymentModification,
        tko.CancelDeploymentModification(modificationToken=started.modificationToken),
    )
    assert data.deleteDeployment(tko.DeploymentID(deploymentId=child)).deleted


def plugins(data):
    plugin = tko.Plugin(
        type="prepare",
        name="gateway",
        executor="command",
        arguments=["python3", "gateway.py"],
        properties={"namespace": "spec.namespace"},
        triggers=[tko.GVK(group="a.example.org", version="v1", kind="Gateway")],
    )
    assert data.registerPlugin(plugin).registered
    assert data.getPlugin(tko.PluginID(type="prepare", name="gateway")) == plugin
    assert list(
        data.listPlugins(
            tko.ListPlugins(
                select=tko.SelectPlugins(
                    type="prepare",
                    executor="",
                    trigger=tko.GVK(group="a.example.org", version="v1", kind="Gateway"),
                )
            )
        )
    ) == [plugin]
    expect_code(
        grpc.StatusCode.INVALID_ARGUMENT,
        data.registerPlugin,
        tko.Plugin(type="other", name="x", executor="command"),
    )
    assert data.deletePlugin(tko.PluginID(type="prepare", name="gateway")).deleted
    assert data.purgePlugins(tko.SelectPlugins(type="validate")).deleted


def violations(data):
    """Of very many, so many as fit arrive, and the call itself is sound."""
    package = b"---\n".join(
        b"{apiVersion: a/v1, kind: A, metadata: {name: a%d}, spec: {bad: 1}}\n" % number
        for number in range(2000)
    )
    error = expect_code(
        grpc.StatusCode.INVALID_ARGUMENT,
        data.registerTemplate,
        tko.Template(templateId="bad", packageFormat="yaml", package=package),
    )
    assert "a0" in error.details() and "spec.bad" in error.details()
    details = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    assert b"BAD_ARGUMENT" in details[0] and b"google.rpc.BadRequest" in details[0]


def main(server):
    with grpc.insecure_channel(server) as channel:
        data = Recorder(tko_pb2_grpc.DataStub(channel))
        about = data.about(Empty())
        assert about.tkoVersion and about.backend and about.defaultPackageFormat == "cbor"
        templates(data)
        sites(data)
        deployments(data)
        plugins(data)
        violations(data)
        assert data.purgeDeployments(tko.SelectDeployments()).deleted
        assert data.purgeSites(tko.SelectSites(siteIdPatterns=["**"])).deleted
        assert data.purgeTemplates(tko.SelectTemplates()).deleted
        assert not list(data.listDeployments(tko.ListDeployments()))
        methods = {method.name for method in tko.DESCRIPTOR.services_by_name["Data"].methods}
        assert called == methods, methods ^ called
        print(f"{len(called)} methods called")


main(sys.argv[1])
