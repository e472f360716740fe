#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""List sites."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_info
short_description: List sites of TKO
version_added: 0.1.0
description:
  - Lists sites in the order of their ids, filtered by patterns. All patterns must match.
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
extends_documentation_fragment: [tko.tko.server]
options:
  site_id:
    description: Id, or pattern of ids; V(*) matches anything within a segment, V(**) anything.
    type: str
  template_id:
    description: Id or pattern of ids of templates.
    type: str
  metadata:
    description: Patterns of metadata values; V(*) matches anything.
    type: dict
    default: {}
  packages:
    description: Whether to read the packages, too.
    type: bool
    default: false
  offset:
    description: Number of sites to skip.
    type: int
    default: 0
  max_count:
    description: Most sites to list. V(0) lists all.
    type: int
    default: 1000
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: List the sites in the west
  tko.tko.site_info:
    metadata:
      region: west
  register: listed
"""

RETURN = r"""
sites:
  description: The sites.
  returned: always
  type: list
  elements: dict
  sample: [{site_id: "india/pune/1", template_id: "", metadata: {region: west}, version: 7}]
"""

from ansible_collections.tko.tko.plugins.module_utils.server import client_of, create_module, described, texts


def main():
    """Runs the module."""
    module = create_module(
        {
            "site_id": {"type": "str"},
            "template_id": {"type": "str"},
            "metadata": {"type": "dict", "default": {}},
            "packages": {"type": "bool", "default": False},
            "offset": {"type": "int", "default": 0},
            "max_count": {"type": "int", "default": 1000},
        }
    )
    params = module.params
    with client_of(module) as client:
        listing = client.list_sites(
            [params["site_id"]] if params["site_id"] else None,
            [params["template_id"]] if params["template_id"] else None,
            texts(params["metadata"]) or None,
            offset=params["offset"],
            max_count=params["max_count"],
            packages=params["packages"],
        )
        sites = [described(site, params["packages"]) for site in listing]
    module.exit_json(changed=False, sites=sites)


if __name__ == "__main__":
    main()
