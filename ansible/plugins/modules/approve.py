#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Approve deployments."""

from __future__ import annotations

DOCUMENTATION = r"""
module: approve
short_description: Approve deployments of TKO
version_added: 0.1.0
description:
  - Approves all matching deployments that are prepared and not approved. All filters must match.
  - At least one filter is needed, so that nobody approves everything by mistake.
attributes:
  check_mode:
    support: full
    description: Lists what would be approved and approves nothing.
  diff_mode:
    support: full
    description: Shows what is approved.
extends_documentation_fragment: [tko.tko.server, tko.tko.selection]
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Approve a deployment
  tko.tko.approve:
    name: smf-pune

- name: Approve all network functions in the west
  tko.tko.approve:
    template_id: nf/**
    site_metadata:
      region: west
"""

RETURN = r"""
approved:
  description: The ids of the deployments that were approved; in check mode of those that would be. The first 1,000.
  returned: always
  type: list
  elements: str
  sample: [06h24sr0]
skipped_deployments:
  description: Deployments that could not be approved, and why.
  returned: always
  type: list
  elements: dict
  sample: [{deployment_id: 06h24sr1, reason: it is being modified}]
"""

from ansible_collections.tko.tko.plugins.module_utils.content import difference
from ansible_collections.tko.tko.plugins.module_utils.server import FILTERS, client_of, create_module, filters

# Most ids that are returned.
MOST_IDS = 1000


def main():
    """Runs the module."""
    module = create_module({**FILTERS})
    with client_of(module) as client:
        selection = filters(module.params)
        if not any(selection.values()):
            module.fail_json(msg="name at least one filter, such as deployment_id or template_id")
        selection.update(prepared=True, approved=False)
        ids = [one.deployment_id for one in client.list_deployments(**selection, max_count=MOST_IDS)]
        result = {"changed": bool(ids), "approved": ids, "skipped_deployments": []}
        if not module.check_mode:
            done = client.approve_deployments(**selection)
            skipped = dict(done["skipped"])
            result["changed"] = done["done"] > 0
            result["approved"] = [one for one in ids if one not in skipped]
            result["skipped_deployments"] = [
                {"deployment_id": one, "reason": reason} for one, reason in skipped.items()
            ]
        if module._diff:
            result["diff"] = [
                difference(f"deployment {one}", {"approved": False}, {"approved": True}) for one in result["approved"]
            ]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
