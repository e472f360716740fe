#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Create or delete a deployment, and wait for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment
short_description: Create or delete a deployment of TKO
version_added: 0.1.0
description:
  - Creates a deployment, once for each O(name) and O(parent_deployment_id), or deletes one. It can wait for its
    preparation, approval or scheduling.
  - The name is kept in the deployment's metadata as V(ansible.name), and is, with the parent, the idempotency key of its
    creation.
  - A deployment that exists is not changed, because preparers own its package from then on. Use
    M(tko.tko.deployment_modification).
  - A task with none of O(template_id), O(package) and O(src) creates nothing. It is for waiting.
attributes:
  check_mode:
    support: full
    description: Reports what would change and changes nothing.
  diff_mode:
    support: full
    description: Shows what changes.
extends_documentation_fragment: [tko.tko.server, tko.tko.content]
options:
  name:
    description: Name of the deployment.
    type: str
  deployment_id:
    description: Id of an existing deployment.
    type: str
    aliases: [id]
  parent_deployment_id:
    description: Id of the parent.
    type: str
  template_id:
    description: Id of the template to make it from.
    type: str
  site_id:
    description: Id of the site.
    type: str
  state:
    description: Whether the deployment shall exist.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - State to wait for.
      - With O(state=present), V(prepared), V(approved) or V(scheduled).
      - With O(state=absent), V(gone), which is when it has left its site, too.
      - In check mode nothing is waited for.
    type: str
    choices: [none, prepared, approved, scheduled, gone]
    default: none
  wait_timeout:
    description: Longest time to wait, in seconds.
    type: float
    default: 300
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Deploy a network function, and wait until it waits for nobody
  tko.tko.deployment:
    name: upf-pune
    template_id: nf/upf:v1
    site_id: india/pune/1
    wait: scheduled

- name: Create a deployment with more resources
  tko.tko.deployment:
    name: smf-pune
    template_id: nf/smf:v1
    site_id: india/pune/1
    package:
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: settings
          annotations:
            nephio.org/merge: Override
        data:
          log: debug

- name: Delete a deployment, and wait until it has left its site
  tko.tko.deployment:
    name: upf-pune
    state: absent
    wait: gone
"""

RETURN = r"""
deployment_id:
  description: The id of the deployment.
  returned: if it exists, or existed
  type: str
  sample: 06h24sr0
deployment:
  description: The deployment.
  returned: if it exists and O(state=present)
  type: dict
  sample: {deployment_id: 06h24sr0, template_id: "nf/upf:v1", site_id: "india/pune/1", prepared: true, approved: true}
"""

from ansible_collections.tko.tko.plugins.module_utils.content import as_package, difference, read_package, yaml
from ansible_collections.tko.tko.plugins.module_utils.server import (
    CONTENT,
    NAME,
    client_of,
    create_module,
    described,
    find,
    texts,
    warn_of_violations,
)
from ansible_collections.tko.tko.plugins.module_utils.waiting import deleting, named, wait

# What a deployment is made of.
SOURCES = ("template_id", "package", "src")

FACTS = ("template_id", "site_id", "parent_deployment_id")


def main():
    """Runs the module."""
    module = create_module(
        {
            "name": {"type": "str"},
            "deployment_id": {"type": "str", "aliases": ["id"]},
            "parent_deployment_id": {"type": "str"},
            "template_id": {"type": "str"},
            "site_id": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "wait": {
                "type": "str",
                "choices": ["none", "prepared", "approved", "scheduled", "gone"],
                "default": "none",
            },
            "wait_timeout": {"type": "float", "default": 300},
            **CONTENT,
        },
        mutually_exclusive=[("package", "src"), ("name", "deployment_id")],
        required_one_of=[("name", "deployment_id")],
    )
    params = module.params
    if params["wait"] != "none" and (params["wait"] == "gone") != (params["state"] == "absent"):
        module.fail_json(msg=f"wait={params['wait']} does not go with state={params['state']}")
    with client_of(module) as client:
        result = absent(module, client) if params["state"] == "absent" else present(module, client)
    module.exit_json(**result)


def absent(module, client):
    """Deletes the deployment."""
    params = module.params
    deployment = named(client, params)
    result = {"changed": deployment is not None and not deleting(deployment)}
    if deployment is None:
        return result
    result["deployment_id"] = deployment.deployment_id
    if module._diff and result["changed"]:
        result["diff"] = diff(deployment.deployment_id, deployment, None)
    if module.check_mode:
        return result
    if result["changed"]:
        client.delete_deployment(deployment.deployment_id)
    if params["wait"] == "gone":
        wait(client, deployment.deployment_id, "gone", params["wait_timeout"])
    return result


def present(module, client):
    """Creates the deployment if it does not exist."""
    params = module.params
    deployment = named(client, params)
    if deployment is not None and deleting(deployment) and params["name"]:
        # Its name is free when it is gone.
        if not module.check_mode:
            wait(client, deployment.deployment_id, "gone", params["wait_timeout"])
        deployment = None
    if deployment is None:
        if not params["name"]:
            raise ValueError(f"deployment {params['deployment_id']} does not exist; give a name to create one")
        if not any(params[option] is not None for option in SOURCES):
            # The task waits for a deployment; another one creates it.
            message = f"deployment {params['name']} does not exist"
            if not module.check_mode:
                raise ValueError(f"{message}; give template_id, package or src to create it")
            module.warn(f"{message} now")
            return {"changed": False}
        return create(module, client)
    check(params, deployment)
    result = {"changed": False, "deployment_id": deployment.deployment_id}
    return finish(module, client, result)


def check(params, deployment):
    """Raises an error if a deployment is another than the wanted one."""
    for fact in FACTS:
        wanted, actual = params[fact] or "", getattr(deployment, fact)
        if params[fact] is not None and wanted != actual:
            raise ValueError(
                f"deployment {deployment.deployment_id} has the {fact} {actual!r}, not {wanted!r}; "
                "delete it, or move it with deployment_modification"
            )
    for key, value in texts(params["metadata"]).items():
        actual = deployment.metadata.get(key)
        if actual != value:
            raise ValueError(
                f"deployment {deployment.deployment_id} has the metadata {key}: {actual!r}, not {value!r}; "
                "they are given when it is created: delete it first"
            )


def create(module, client):
    """Creates the deployment."""
    params = module.params
    package = read_package(params)
    result = {"changed": True}
    if module.check_mode:
        foresee(module, client, package)
    else:
        result["deployment_id"] = client.create_deployment(
            template_id=params["template_id"],
            parent_deployment_id=params["parent_deployment_id"],
            site_id=params["site_id"],
            merge_metadata={**texts(params["metadata"]), NAME: params["name"]},
            merge_package=package,
            idempotency_key=key_of(params),
        )
    if module._diff:
        template = find(client.get_template, params["template_id"]) if params["template_id"] else None
        merged = as_package(template and template.get_package()).merge(as_package(package))
        facts = {fact: params[fact] or "" for fact in FACTS}
        result["diff"] = diff(params["name"], None, {**facts, "package": yaml(merged)})
    return result if module.check_mode else finish(module, client, result)


def key_of(params):
    """The idempotency key of the creation. Deployments with different parents can have the same name.

    Ids have no spaces, so that each parent and name has a key of its own."""
    name, parent = f"{NAME}={params['name']}", params["parent_deployment_id"]
    return f"ansible.parent={parent} {name}" if parent else name


def foresee(module, client, package):
    """Warns of the errors that a creation would raise, as far as they can be known.

    What is missing may be what an earlier task would have created."""
    params = module.params
    under = as_package(None)
    reads = {
        "template_id": client.get_template,
        "site_id": client.get_site,
        "parent_deployment_id": client.get_deployment,
    }
    for option, read in reads.items():
        found = find(read, params[option]) if params[option] else None
        if params[option] and found is None:
            module.warn(f"{option} {params[option]} does not exist now")
        elif option == "template_id" and found is not None:
            under = found.get_package()
    warn_of_violations(module, under.merge(as_package(package)), complete=False)


def finish(module, client, result):
    """Waits, and adds the deployment to the result."""
    params = module.params
    if params["wait"] != "none" and not module.check_mode:
        deployment = wait(client, result["deployment_id"], params["wait"], params["wait_timeout"])
    else:
        deployment = find(client.get_deployment, result["deployment_id"])
    if deployment is not None:
        result["deployment"] = described(deployment)
    return result


def diff(label, before, after):
    """The differences, for --diff: a whole deployment appears or disappears."""
    if before is not None:
        before = {**{fact: getattr(before, fact) for fact in FACTS}, "package": yaml(before.get_package())}
    before, after = before or {}, after or {}
    packages = before.pop("package", ""), after.pop("package", "")
    return [
        difference(f"deployment {label}", before, after),
        difference(f"package of deployment {label}", *packages),
    ]


if __name__ == "__main__":
    main()
