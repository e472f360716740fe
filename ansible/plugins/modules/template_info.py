#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""List templates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template_info
short_description: List templates of TKO
version_added: 0.1.0
description:
  - Lists templates in the order of their ids, filtered by patterns. All patterns must match.
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
extends_documentation_fragment: [tko.tko.server]
options:
  template_id:
    description: Id, or pattern of ids; V(*) matches anything within a segment, V(**) anything.
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
    description: Number of templates to skip.
    type: int
    default: 0
  max_count:
    description: Most templates to list. V(0) lists all.
    type: int
    default: 1000
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: List the templates of network functions
  tko.tko.template_info:
    template_id: nf/**
    metadata:
      vendor: ex*
  register: listed
"""

RETURN = r"""
templates:
  description: The templates.
  returned: always
  type: list
  elements: dict
  sample: [{template_id: "nf/upf:v1", metadata: {vendor: example}, version: 7}]
"""

from ansible_collections.tko.tko.plugins.module_utils.server import client_of, create_module, described, texts


def main():
    """Runs the module."""
    module = create_module(
        {
            "template_id": {"type": "str"},
            "metadata": {"type": "dict", "default": {}},
            "packages": {"type": "bool", "default": False},
            "offset": {"type": "int", "default": 0},
            "max_count": {"type": "int", "default": 1000},
        }
    )
    params = module.params
    with client_of(module) as client:
        listing = client.list_templates(
            [params["template_id"]] if params["template_id"] else None,
            texts(params["metadata"]) or None,
            offset=params["offset"],
            max_count=params["max_count"],
            packages=params["packages"],
        )
        templates = [described(template, params["packages"]) for template in listing]
    module.exit_json(changed=False, templates=templates)


if __name__ == "__main__":
    main()
