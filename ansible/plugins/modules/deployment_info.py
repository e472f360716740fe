#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""List deployments, or read one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_info
short_description: List deployments of TKO, or read one
version_added: 0.1.0
description:
  - Lists deployments in the order of their ids. All filters must match.
  - With an O(deployment_id) that is not a pattern, it also returns RV(deployment) with its package.
  - The names C(tko_list_deployments) and C(tko_get_deployment) of the original collection are names of this module, too.
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
extends_documentation_fragment: [tko.tko.server, tko.tko.selection]
options:
  prepared:
    description: Only deployments that are prepared, or that are not.
    type: bool
  approved:
    description: Only deployments that are approved, or that are not.
    type: bool
  packages:
    description: Whether to read the packages, too.
    type: bool
    default: false
  offset:
    description: Number of deployments to skip.
    type: int
    default: 0
  max_count:
    description: Most deployments to list. V(0) lists all.
    type: int
    default: 1000
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: List what waits for an approval in the west
  tko.tko.deployment_info:
    site_metadata:
      region: west
    prepared: true
    approved: false
  register: waiting

- name: Read a deployment
  tko.tko.deployment_info:
    deployment_id: 06h24sr0
  register: read
"""

RETURN = r"""
deployments:
  description: The deployments.
  returned: always
  type: list
  elements: dict
  sample: [{deployment_id: 06h24sr0, template_id: "nf/upf:v1", site_id: "india/pune/1", prepared: true, approved: false}]
deployment:
  description: The deployment, with C(package), the list of its resources.
  returned: if O(deployment_id) is given and is not a pattern
  type: dict
  sample: {deployment_id: 06h24sr0, template_id: "nf/upf:v1", site_id: "india/pune/1", package: []}
"""

from ansible_collections.tko.tko.plugins.module_utils.server import (
    FILTERS,
    client_of,
    create_module,
    described,
    filters,
)


def main():
    """Runs the module."""
    module = create_module(
        {
            **FILTERS,
            "prepared": {"type": "bool"},
            "approved": {"type": "bool"},
            "packages": {"type": "bool", "default": False},
            "offset": {"type": "int", "default": 0},
            "max_count": {"type": "int", "default": 1000},
        }
    )
    params = module.params
    result = {"changed": False}
    with client_of(module) as client:
        listing = client.list_deployments(
            **filters(params),
            prepared=params["prepared"],
            approved=params["approved"],
            offset=params["offset"],
            max_count=params["max_count"],
            packages=params["packages"],
        )
        result["deployments"] = [described(deployment, params["packages"]) for deployment in listing]
        if params["deployment_id"] and not any(c in params["deployment_id"] for c in "*\\"):
            result["deployment"] = described(client.get_deployment(params["deployment_id"]), package=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
