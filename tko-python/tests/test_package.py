"""Packages, identifiers, merging, validation, expressions, patterns."""

import math

import pytest

import tko

PORT = tko.GVK("example.org", "v1", "Port")


def resource(kind, name, namespace=None, **content):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "example.org/v1", "kind": kind, "metadata": metadata, **content}


def test_identifiers_are_values():
    port = resource("Port", "n3", "upf")
    assert tko.GVK(resource=port) == PORT
    assert {PORT, tko.GVK(resource=port)} == {PORT}
    assert str(PORT) == "example.org/v1/Port" and PORT.api_version == "example.org/v1"
    identifier = tko.Identifier(resource=port)
    assert identifier == tko.Identifier(PORT, "n3", "upf") != tko.Identifier(PORT, "n3")
    assert repr(identifier) == 'Identifier(GVK("example.org", "v1", "Port"), "n3", "upf")'
    with pytest.raises(TypeError):
        tko.GVK("a")
    with pytest.raises(tko.BadArgument):
        tko.Identifier(resource={"kind": "Port"})


def test_resources_are_changed_in_place():
    package = tko.Package.parse("apiVersion: example.org/v1\nkind: Port\nmetadata: {name: n3, namespace: upf}\n")
    package[tko.Identifier(PORT, "n3")]["spec"] = {"vlan": 17}
    assert package.get_first(PORT)["spec"]["vlan"] == 17
    assert "vlan: 17" in str(package)
    assert package[tko.Identifier(PORT, "n4")] is None
    package.append(resource("Port", "n4"))
    assert [port["metadata"]["name"] for port in package.iter_all(PORT)] == ["n3", "n4"]
    assert len(package) == 2 and package[-1]["metadata"]["name"] == "n4"
    del package[tko.Identifier(PORT, "n4")]
    assert tko.Identifier(PORT, "n4") not in package
    with pytest.raises(IndexError):
        package[1]


def test_a_name_in_several_namespaces_needs_the_namespace():
    package = tko.Package([resource("Port", "n3", "a"), resource("Port", "n3", "b")])
    assert package[tko.Identifier(PORT, "n3", "b")]["metadata"]["namespace"] == "b"
    with pytest.raises(ValueError, match="several namespaces"):
        package[tko.Identifier(PORT, "n3")]


def test_values_make_the_round_trip():
    content = {
        "none": None,
        "true": True,
        "small": -1,
        "large": 2**64 - 1,
        "float": 1.5,
        "one": 1.0,
        "text": "ä😀\u2028",
        "list": [1, [2]],
        "map": {"a": {}},
    }
    package = tko.Package([resource("Port", "n3", spec=content)])
    for copied in [tko.Package.parse(str(package)), tko.Package.parse(package.to_json())]:
        assert copied[0]["spec"] == content
        assert isinstance(copied[0]["spec"]["one"], float) and copied[0]["spec"]["true"] is True
        assert copied == package


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({1, 2}, TypeError, r"spec.a\[1\]: a set cannot be part of a resource"),
        (math.nan, ValueError, "not finite"),
        (2**64, ValueError, "more than 64 bits"),
        ({1: 2}, TypeError, "the key 1 is not a str"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(value, error, words):
    package = tko.Package([resource("Port", "n3", spec={"a": [0, value]})])
    with pytest.raises(error, match=words):
        package.to_yaml()


def test_endless_values_are_refused():
    endless = {}
    endless["self"] = endless
    with pytest.raises(ValueError, match="levels deep"):
        tko.Package([resource("Port", "n3", spec=endless)]).to_yaml()


def test_packages_are_merged_as_tko_does():
    under = tko.Package([resource("Port", "n3", spec={"vlan": 1, "mtu": 9000})])
    override = resource("Port", "n3", spec={"vlan": 2})
    override["metadata"]["annotations"] = {"nephio.org/merge": "Override"}
    merged = under.merge([override, resource("Port", "n4")])
    assert merged[0]["spec"] == {"vlan": 2, "mtu": 9000}
    assert len(merged) == 2 and under[0]["spec"]["vlan"] == 1


def test_schemas_find_violations():
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"replicas": "three", "selector": {}, "template": {}},
    }
    found = tko.Package([deployment]).validate()
    assert any(violation["path"].endswith("replicas") for violation in found), found
    assert set(found[0]) == {"resource", "path", "message"}


def test_expressions_see_the_package():
    package = tko.Package([resource("Port", "n3", spec={"vlan": 17, "tags": ["a", "b"]})])
    get = "get('example.org', 'v1', 'Port')"
    assert tko.evaluate_expression(f"{{{{ {get}.spec.vlan }}}}", package) == 17
    assert tko.evaluate_expression(f"{{{{ {get}.spec.tags }}}}", package) == ["a", "b"]
    assert tko.evaluate_expression(f"vlan-{{{{ {get}.spec.vlan }}}}", package) == "vlan-17"
    assert tko.evaluate_expression(5, package) == 5
    for text in ["{{ get('', 'v1', 'Pod').a }}", f"{{{{ {get}.spec.lan }}}}", "{{ 1 +", "x {{ nope }}"]:
        with pytest.raises(ValueError, match="cannot evaluate"):
            tko.evaluate_expression(text, package)
    with pytest.raises(ValueError, match="fuel"):
        tko.evaluate_expression("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", package)


def test_metadata_is_collected():
    function = {
        "apiVersion": "metadata.nephio.org/v1alpha1",
        "kind": "NetworkFunction",
        "metadata": {"name": "nf"},
        "spec": {"type": "UPF"},
    }
    assert tko.Package([function]).metadata() == {"NetworkFunction.type": "UPF"}


def test_patterns_match():
    assert tko.matches_id("nf/*:v1", "nf/upf:v1") and not tko.matches_id("nf/*", "nf/a/b")
    assert tko.matches_value("a*", "a/b")
    with pytest.raises(tko.BadArgument, match="backslash"):
        tko.matches_id("a\\", "a")


def test_values_are_checked():
    schema = {
        "type": "dict",
        "required": True,
        "schema": {"n": (int, None), "f": {"type": "number", "function": positive}},
    }
    tko.validate_value("s", {"n": None, "f": 1}, True, schema)
    for value, words in [
        (None, "s: required"),
        ({"n": True}, "s.n: expected int or NoneType, found bool"),
        ({"f": -1}, "s.f: must be positive"),
        ({"m": 1}, "s.m: unknown key"),
        ("x", "s: expected dict, found str"),
    ]:
        with pytest.raises(ValueError, match=words):
            tko.validate_value("s", value, True, schema)
    tko.validate_value("s", None, False, schema)
    with pytest.raises(TypeError, match="unknown keys"):
        tko.validate_value("s", 1, True, {"typ": int})
    with pytest.raises(TypeError, match="unknown type 'integr'"):
        tko.validate_value("s", 1, True, "integr")


def positive(value):
    if value <= 0:
        raise ValueError("must be positive")
    return True
