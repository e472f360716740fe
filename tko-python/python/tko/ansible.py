"""Inventories for Ansible, from the sites of a server or from anything else."""

from __future__ import annotations

import json
import sys
from typing import Any


class Inventory:
    """A dynamic inventory: groups of hosts with variables.

    >>> inventory = Inventory()
    >>> inventory.add_host("edge-1", groups=["edge"], address="192.0.2.7")
    >>> inventory.to_dict()["edge"]
    {'hosts': ['edge-1']}
    >>> inventory.to_dict()["_meta"]["hostvars"]["edge-1"]
    {'address': '192.0.2.7'}
    """

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.variables: dict[str, dict[str, Any]] = {}

    def add_host(self, name: str, groups: list[str] | None = None, **variables: Any) -> None:
        """Adds a host, or adds groups and variables to it."""
        self.hosts.setdefault(name, {}).update(variables)
        for group in groups or ["ungrouped"]:
            hosts = self.groups.setdefault(group, [])
            if name not in hosts:
                hosts.append(name)

    def set_variables(self, group: str, **variables: Any) -> None:
        """Sets variables of a group."""
        self.groups.setdefault(group, [])
        self.variables.setdefault(group, {}).update(variables)

    def to_dict(self) -> dict[str, Any]:
        """The inventory as Ansible reads it from a script's `--list`."""
        result: dict[str, Any] = {"_meta": {"hostvars": self.hosts}}
        for group, hosts in self.groups.items():
            result[group] = {"hosts": hosts}
            if group in self.variables:
                result[group]["vars"] = self.variables[group]
        return result

    def run(self, arguments: list[str] | None = None) -> None:
        """Answers Ansible's `--list` and `--host NAME` on stdout: the last line of an inventory script."""
        arguments = sys.argv[1:] if arguments is None else arguments
        if arguments[:1] == ["--host"] and len(arguments) == 2:
            print(json.dumps(self.hosts.get(arguments[1], {}), indent=2))
        else:
            print(json.dumps(self.to_dict(), indent=2))
