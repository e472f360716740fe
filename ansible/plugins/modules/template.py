#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Register or delete a template."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template
short_description: Register or delete a template of TKO
version_added: 0.1.0
description:
  - Creates, replaces or deletes a template, which is a package of Kubernetes resources.
  - Sites and deployments that were made from a template stay as they are when it changes.
attributes:
  check_mode:
    support: full
    description: Reports what would change and changes nothing.
  diff_mode:
    support: full
    description: Shows what changes.
extends_documentation_fragment: [tko.tko.server, tko.tko.content]
options:
  template_id:
    description: Id of the template.
    type: str
    required: true
    aliases: [id]
  state:
    description: Whether the template shall exist.
    type: str
    choices: [present, absent]
    default: present
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Register a template
  tko.tko.template:
    template_id: nf/upf:v1
    src: packages/upf
    metadata:
      vendor: example

- name: Delete a template
  tko.tko.template:
    template_id: nf/upf:v0
    state: absent
"""

RETURN = r"""
template:
  description: The template. In check mode as it was before.
  returned: if it exists and O(state=present)
  type: dict
  sample: {template_id: "nf/upf:v1", metadata: {vendor: example}, version: 7, deployment_ids: []}
"""

import functools

from ansible_collections.tko.tko.plugins.module_utils.content import read_package
from ansible_collections.tko.tko.plugins.module_utils.registration import Registration
from ansible_collections.tko.tko.plugins.module_utils.server import CONTENT, client_of, create_module, texts


def main():
    """Runs the module."""
    module = create_module(
        {
            "template_id": {"type": "str", "required": True, "aliases": ["id"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **CONTENT,
        },
        mutually_exclusive=[("package", "src")],
    )
    template_id = module.params["template_id"]
    with client_of(module) as client:
        metadata = texts(module.params["metadata"])
        package = read_package(module.params)
        registration = Registration(
            "template",
            "template",
            functools.partial(client.get_template, template_id),
            functools.partial(client.register_template, template_id, metadata, package=package),
            functools.partial(client.delete_template, template_id),
        )
        if module.params["state"] == "present":
            registration.set_package(package, metadata)
        registration.run(module)


if __name__ == "__main__":
    main()
