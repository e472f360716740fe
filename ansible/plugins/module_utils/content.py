# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Packages: reading, comparing and changing them."""

from __future__ import annotations

import copy
import os

try:
    import tko
except ImportError:
    # The module says so when it starts.
    tko = None

ENDINGS = (".yaml", ".yml", ".json")


def read_package(params):
    """The package of the options `package` and `src`. None if neither is given."""
    if params.get("src"):
        return tko.Package([resource for path in files(params["src"]) for resource in parse(path)])
    given = params.get("package")
    if given is None:
        return None
    if isinstance(given, str):
        return tko.Package.parse(given)
    if not isinstance(given, list) or not all(isinstance(resource, dict) for resource in given):
        raise ValueError("package: expected a list of resources, or YAML text")
    return tko.Package(given)


def files(path):
    """The files of a package, in the order of their paths."""
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, _folders, names in os.walk(path):
        found.extend(os.path.join(folder, name) for name in names if name.endswith(ENDINGS))
    if not found:
        raise ValueError(f"{path} has no files {', '.join('*' + ending for ending in ENDINGS)}")
    return sorted(found)


def parse(path):
    """The resources of a file."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return tko.Package.parse(content)
    except tko.Error as error:
        raise ValueError(f"{path}: {error}") from error


def patched(package, patch, remove):
    """A copy of a package with patched resources, without the removed ones.

    A patch is a partial resource: its maps are merged, null removes a key, other values replace. A
    resource that the package lacks is added."""
    result = tko.Package(copy.deepcopy(package.to_list()))
    for resource in patch or []:
        identifier = tko.Identifier(resource=resource)
        current = result[identifier]
        if current is None:
            result.append(merged({}, resource))
        else:
            result[identifier] = merged(current, resource)
    for reference in remove or []:
        identifier = identifier_of(reference)
        if identifier in result:
            del result[identifier]
    return result


def identifier_of(reference):
    """The identifier of a map with `api_version` (or `apiVersion`), `kind`, `name` and `namespace`."""
    metadata = {"name": reference["name"]}
    if reference.get("namespace"):
        metadata["namespace"] = reference["namespace"]
    return tko.Identifier(
        resource={"apiVersion": reference["api_version"], "kind": reference["kind"], "metadata": metadata}
    )


def merged(under, over):
    """A map merged as RFC 7386 (JSON Merge Patch) has it."""
    result = dict(under)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            current = result.get(key)
            result[key] = merged(current if isinstance(current, dict) else {}, value)
        else:
            result[key] = value
    return result


def difference(name, before, after):
    """One entry of Ansible's diff."""
    return {
        "before_header": f"{name} (before)",
        "after_header": f"{name} (after)",
        "before": before if isinstance(before, str) else dict(before),
        "after": after if isinstance(after, str) else dict(after),
    }


def as_package(package):
    """The package itself, or an empty one for None."""
    return tko.Package() if package is None else package


def yaml(package):
    """A package as YAML; an absent one is empty."""
    return "" if package is None else package.to_yaml()
