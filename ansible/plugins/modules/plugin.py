#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Register or delete a plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plugin
short_description: Register or delete a plugin of TKO
version_added: 0.1.0
description:
  - Creates, replaces or deletes a plugin. Running controllers notice it at once.
attributes:
  check_mode:
    support: full
    description: Reports what would change and changes nothing.
  diff_mode:
    support: full
    description: Shows what changes.
extends_documentation_fragment: [tko.tko.server]
options:
  type:
    description: Type of the plugin.
    type: str
    choices: [validate, prepare, schedule]
    required: true
  name:
    description: Name of the plugin.
    type: str
    required: true
  executor:
    description: Executor that runs the plugin, such as V(command), V(worker), V(kpt) or V(ansible).
    type: str
    default: command
  arguments:
    description: Arguments for the executor. For V(command), the program and its arguments.
    type: list
    elements: str
    default: []
  properties:
    description:
      - Properties of the plugin. Names that begin with V(_) are the executor's.
      - Everyone who can read plugins sees them. Write V(secret:NAME) in place of a secret.
    type: dict
    default: {}
  triggers:
    description: Kinds of resources that the plugin is called for.
    type: list
    elements: dict
    default: []
    suboptions:
      group:
        description: API group; empty for the core group.
        type: str
        default: ''
      version:
        description: API version.
        type: str
        required: true
      kind:
        description: Kind.
        type: str
        required: true
  state:
    description: Whether the plugin shall exist.
    type: str
    choices: [present, absent]
    default: present
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Register a preparer
  tko.tko.plugin:
    type: prepare
    name: upf
    executor: worker
    arguments: [/opt/plugins/prepare_upf.py]
    triggers:
      - group: example.org
        version: v1
        kind: Upf
"""

RETURN = r"""
plugin:
  description: The plugin. In check mode as it was before.
  returned: if it exists and O(state=present)
  type: dict
  sample: {type: prepare, name: upf, executor: worker, arguments: [/opt/plugins/prepare_upf.py], version: 3}
"""

import functools

from ansible_collections.tko.tko.plugins.module_utils.registration import Registration
from ansible_collections.tko.tko.plugins.module_utils.server import client_of, create_module, gvk, texts

TRIGGER = {
    "group": {"type": "str", "default": ""},
    "version": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
}


def main():
    """Runs the module."""
    module = create_module(
        {
            "type": {"type": "str", "choices": ["validate", "prepare", "schedule"], "required": True},
            "name": {"type": "str", "required": True},
            "executor": {"type": "str", "default": "command"},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "properties": {"type": "dict", "default": {}},
            "triggers": {"type": "list", "elements": "dict", "options": TRIGGER, "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        }
    )
    params = module.params
    key = (params["type"], params["name"])
    with client_of(module) as client:
        properties = texts(params["properties"])
        triggers = [gvk(trigger) for trigger in params["triggers"]]
        registration = Registration(
            "plugin",
            "plugin",
            functools.partial(client.get_plugin, *key),
            functools.partial(client.register_plugin, *key, params["executor"], params["arguments"], properties, triggers),
            functools.partial(client.delete_plugin, *key),
        )
        registration.facts = {
            "executor": params["executor"],
            "arguments": params["arguments"],
            "properties": properties,
            "triggers": params["triggers"],
        }
        registration.run(module)


if __name__ == "__main__":
    main()
