"""Inventories for Ansible, from the sites of a server or from anything else."""

from __future__ import annotations

import json
import os
import sys
from typing import IO, Any

from ._compatible import yaml
from ._tko import Package

_environment = os.environ.get

#: The server for inventory scripts, `HOST:PORT`.
DATA_HOST: str = (
    _environment("TKO_DATA_HOST") or _environment("TKO_HOST") or _environment("TKO_GRPC_SERVER") or "tko-data:50050"
)
#: Maximum number of sites for inventory scripts; -1 is all. (The default of the original was 100 or 1,000.)
MAX_COUNT: int = int(_environment("TKO_MAX_COUNT") or _environment("MAX_COUNT") or -1)
#: Metadata patterns of the sites for inventory scripts, a map in YAML; or None.
METADATA_PATTERNS: dict[str, str] | None = yaml.load(_environment("TKO_METADATA_PATTERNS") or "")

# The first names of the original.
tko_host = DATA_HOST
max_count = MAX_COUNT


def _resources(value: Any) -> Any:
    """The JSON of a variable that is a package."""
    if isinstance(value, Package):
        return value.to_list()
    raise TypeError(f"a variable of a host is of type {type(value).__name__!r}; expected JSON or a Package")


class Inventory:
    """A dynamic inventory: groups of hosts with variables. A variable may be a Package.

    >>> inventory = Inventory()
    >>> inventory.add_host("edge-1", groups=["edge"], address="192.0.2.7")
    >>> inventory.to_dict()["edge"]
    {'hosts': ['edge-1']}
    >>> inventory.to_dict()["_meta"]["hostvars"]["edge-1"]
    {'address': '192.0.2.7'}
    """

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        #: The hosts of each group, as the keys of a dict: they are unique and in the order of addition.
        self.groups: dict[str, dict[str, None]] = {}
        self.variables: dict[str, dict[str, Any]] = {}

    def add(self, name: str, host: dict[str, Any]) -> None:
        """Adds a host with these variables to the group `all`, or replaces its variables."""
        self.hosts[name] = host
        self._add_to_group("all", name)

    def add_host(self, name: str, groups: list[str] | None = None, **variables: Any) -> None:
        """Adds a host, or adds groups and variables to it."""
        self.hosts.setdefault(name, {}).update(variables)
        for group in groups or ["ungrouped"]:
            self._add_to_group(group, name)

    def _add_to_group(self, group: str, name: str) -> None:
        self.groups.setdefault(group, {})[name] = None

    def set_variables(self, group: str, **variables: Any) -> None:
        """Sets variables of a group."""
        self.groups.setdefault(group, {})
        self.variables.setdefault(group, {}).update(variables)

    def to_dict(self) -> dict[str, Any]:
        """The inventory as Ansible reads it from a script's `--list`."""
        result: dict[str, Any] = {"_meta": {"hostvars": self.hosts}}
        for group, hosts in self.groups.items():
            result[group] = {"hosts": list(hosts)}
            if group in self.variables:
                result[group]["vars"] = self.variables[group]
        return result

    def dump(self, out: IO[str] | None = None) -> None:
        """Writes the inventory as one line of JSON, by default to stdout, whatever the arguments of the script are."""
        json.dump(self.to_dict(), sys.stdout if out is None else out, separators=(",", ":"), default=_resources)

    def run(self, arguments: list[str] | None = None) -> None:
        """Answers Ansible's `--list` and `--host NAME` on stdout: the last line of an inventory script."""
        arguments = sys.argv[1:] if arguments is None else arguments
        is_host = arguments[:1] == ["--host"] and len(arguments) == 2
        answer = self.hosts.get(arguments[1], {}) if is_host else self.to_dict()
        print(json.dumps(answer, indent=2, default=_resources))
