#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""List plugins."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plugin_info
short_description: List plugins of TKO
version_added: 0.1.0
description:
  - Lists plugins in the order of their types and names, filtered by patterns. All patterns must match.
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
extends_documentation_fragment: [tko.tko.server]
options:
  type:
    description: Type of the plugins.
    type: str
    choices: [validate, prepare, schedule]
  name:
    description: Name, or pattern of names.
    type: str
  executor:
    description: Executor of the plugins.
    type: str
  offset:
    description: Number of plugins to skip.
    type: int
    default: 0
  max_count:
    description: Most plugins to list. V(0) lists all.
    type: int
    default: 1000
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: List the preparers
  tko.tko.plugin_info:
    type: prepare
  register: listed
"""

RETURN = r"""
plugins:
  description: The plugins.
  returned: always
  type: list
  elements: dict
  sample: [{type: prepare, name: upf, executor: worker, arguments: [], version: 3}]
"""

from ansible_collections.tko.tko.plugins.module_utils.server import client_of, create_module, described


def main():
    """Runs the module."""
    module = create_module(
        {
            "type": {"type": "str", "choices": ["validate", "prepare", "schedule"]},
            "name": {"type": "str"},
            "executor": {"type": "str"},
            "offset": {"type": "int", "default": 0},
            "max_count": {"type": "int", "default": 1000},
        }
    )
    params = module.params
    with client_of(module) as client:
        listing = client.list_plugins(
            params["type"],
            [params["name"]] if params["name"] else None,
            params["executor"],
            offset=params["offset"],
            max_count=params["max_count"],
        )
        plugins = [described(plugin) for plugin in listing]
    module.exit_json(changed=False, plugins=plugins)


if __name__ == "__main__":
    main()
