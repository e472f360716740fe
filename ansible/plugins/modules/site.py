#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Register or delete a site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site
short_description: Register or delete a site of TKO
version_added: 0.1.0
description:
  - Creates, replaces or deletes a site, which is a place where deployments run.
  - With O(template_id), the package is merged into that of the template. A site that exists gets the template's
    package of now.
attributes:
  check_mode:
    support: full
    description: Reports what would change and changes nothing.
  diff_mode:
    support: full
    description: Shows what changes.
extends_documentation_fragment: [tko.tko.server, tko.tko.content]
options:
  site_id:
    description: Id of the site.
    type: str
    required: true
    aliases: [id]
  template_id:
    description: Id of the template to make the site from.
    type: str
  state:
    description: Whether the site shall exist.
    type: str
    choices: [present, absent]
    default: present
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Register a site
  tko.tko.site:
    site_id: india/pune/1
    metadata:
      region: west
    package:
      - apiVersion: metadata.nephio.org/v1alpha1
        kind: Site
        metadata:
          name: site
        spec:
          cloud: edge

- name: Register a site that is made from a template
  tko.tko.site:
    site_id: india/pune/2
    template_id: site/edge:v1
"""

RETURN = r"""
site:
  description: The site. In check mode as it was before.
  returned: if it exists and O(state=present)
  type: dict
  sample: {site_id: "india/pune/1", template_id: "", metadata: {region: west}, version: 7, deployment_ids: []}
"""

import functools

from ansible_collections.tko.tko.plugins.module_utils.content import read_package
from ansible_collections.tko.tko.plugins.module_utils.registration import Registration
from ansible_collections.tko.tko.plugins.module_utils.server import (
    CONTENT,
    client_of,
    create_module,
    find,
    texts,
    visible,
)


def main():
    """Runs the module."""
    module = create_module(
        {
            "site_id": {"type": "str", "required": True, "aliases": ["id"]},
            "template_id": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **CONTENT,
        },
        mutually_exclusive=[("package", "src")],
    )
    site_id, template_id = module.params["site_id"], module.params["template_id"] or None
    with client_of(module) as client:
        metadata = texts(module.params["metadata"])
        package = read_package(module.params)
        registration = Registration(
            "site",
            "site",
            functools.partial(client.get_site, site_id),
            functools.partial(client.register_site, site_id, template_id, metadata, package=package),
            functools.partial(client.delete_site, site_id),
        )
        if module.params["state"] == "present":
            registration.facts["template_id"] = template_id or ""
            template = find(client.get_template, template_id) if template_id else None
            if template_id and template is None and module.check_mode:
                # It may be what an earlier task would have created.
                module.warn(f"template {template_id} does not exist now")
            inherited = visible(template.metadata) if template else {}
            registration.set_package(package, metadata, template and template.get_package(), inherited)
        registration.run(module)


if __name__ == "__main__":
    main()
