#!/usr/bin/python
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Modify the package of a deployment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_modification
short_description: Modify the package of a deployment of TKO
version_added: 0.1.0
description:
  - Changes the package of a deployment in one modification. A modification is the exclusive right to change a package.
  - O(patch) and O(remove) change single resources. O(package) or O(src) replace the whole package, including the resource
    of kind Deployment, which has the state and the site.
  - A package that is already as wanted is not changed.
  - The steps of a modification can also be separate tasks, with O(state=started), O(state=ended) and
    O(state=cancelled). C(tko_start_deployment_modification) and C(tko_end_deployment_modification), as in the original
    collection, are names of this module, too.
attributes:
  check_mode:
    support: full
    description: Reports what would change and changes nothing. With O(state=started) the token is empty.
  diff_mode:
    support: full
    description: Shows what changes.
extends_documentation_fragment: [tko.tko.server]
options:
  deployment_id:
    description: Id of the deployment.
    type: str
    aliases: [id]
  name:
    description: Name that M(tko.tko.deployment) has given.
    type: str
  patch:
    description:
      - Partial resources, each with C(apiVersion), C(kind) and C(metadata.name). Their maps are merged into the existing
        resource, null removes a key, and other values, such as lists, replace.
      - A resource that does not exist is added.
    type: list
    elements: dict
  remove:
    description: Resources to remove.
    type: list
    elements: dict
    suboptions:
      api_version:
        description: API version of the resource.
        type: str
        required: true
        aliases: [apiVersion]
      kind:
        description: Kind of the resource.
        type: str
        required: true
      name:
        description: Name of the resource.
        type: str
        required: true
      namespace:
        description: Namespace of the resource.
        type: str
  package:
    description: The whole new package, as a list of maps or as YAML text with several documents.
    type: raw
  src:
    description: File or folder with the whole new package.
    type: path
  modification_token:
    description: Token of a started modification, to end or to cancel it.
    type: str
  state:
    description:
      - V(applied) starts and ends a modification.
      - V(started) starts one, for O(seconds), and returns its token and the package.
      - V(ended) commits the package, and V(cancelled) discards the change.
      - Defaults to V(ended) with O(modification_token), otherwise to V(applied) with changes, otherwise to V(started).
    type: str
    choices: [applied, started, ended, cancelled]
  seconds:
    description: Time until a started modification expires, in seconds.
    type: float
    default: 300
  wait_timeout:
    description: Longest time to wait for the end of another modification, in seconds.
    type: float
    default: 30
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
- name: Change a setting
  tko.tko.deployment_modification:
    name: smf-pune
    patch:
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: settings
          namespace: smf
        data:
          log: warn

- name: Start a modification
  tko.tko.deployment_modification:
    deployment_id: 06h24sr0
    state: started
  register: modification

- name: End it with another package
  tko.tko.deployment_modification:
    modification_token: "{{ modification.modification_token }}"
    package: "{{ modification.package + more_resources }}"
"""

RETURN = r"""
deployment_id:
  description: The id of the deployment.
  returned: unless O(state=cancelled)
  type: str
  sample: 06h24sr0
modification_token:
  description: The token that ends or cancels the modification.
  returned: with O(state=started)
  type: str
  sample: AZk3
package:
  description: The package, after the change if there was one.
  returned: with O(state=applied) and O(state=started)
  type: list
  elements: dict
  sample: []
"""

import time

try:
    from tko import Busy, ClaimExpired, NotFound
except ImportError:
    # The module says so when it starts.
    Busy = ClaimExpired = NotFound = None

from ansible_collections.tko.tko.plugins.module_utils.content import difference, patched, read_package, yaml
from ansible_collections.tko.tko.plugins.module_utils.server import client_of, create_module
from ansible_collections.tko.tko.plugins.module_utils.waiting import named

# Seconds between attempts while someone else modifies the deployment.
PAUSE = 0.5

REFERENCE = {
    "api_version": {"type": "str", "required": True, "aliases": ["apiVersion"]},
    "kind": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
}


def main():
    """Runs the module."""
    module = create_module(
        {
            "deployment_id": {"type": "str", "aliases": ["id"]},
            "name": {"type": "str"},
            "patch": {"type": "list", "elements": "dict"},
            "remove": {"type": "list", "elements": "dict", "options": REFERENCE},
            "package": {"type": "raw"},
            "src": {"type": "path"},
            "modification_token": {"type": "str", "no_log": False},
            "state": {"type": "str", "choices": ["applied", "started", "ended", "cancelled"]},
            "seconds": {"type": "float", "default": 300},
            "wait_timeout": {"type": "float", "default": 30},
        },
        mutually_exclusive=[
            ("package", "src", "patch"),
            ("package", "src", "remove"),
            ("deployment_id", "name", "modification_token"),
        ],
        required_one_of=[("deployment_id", "name", "modification_token")],
    )
    state = state_of(module)
    with client_of(module) as client:
        result = {"applied": applied, "started": started, "ended": ended, "cancelled": cancelled}[state](module, client)
    module.exit_json(**result)


def state_of(module):
    """The option `state`, or its default."""
    params = module.params
    changes = any(params[name] is not None for name in ("package", "src", "patch", "remove"))
    if params["state"]:
        state = params["state"]
    elif params["modification_token"]:
        state = "ended"
    else:
        state = "applied" if changes else "started"
    if (state in ("ended", "cancelled")) != bool(params["modification_token"]):
        module.fail_json(msg=f"state={state} and modification_token={params['modification_token']} do not fit together")
    if state == "applied" and not changes:
        module.fail_json(msg="state=applied needs patch, remove, package or src")
    if state == "ended" and (params["package"] is None and params["src"] is None):
        module.fail_json(msg="state=ended needs package or src")
    return state


def wanted(params, package):
    """The package as it shall be."""
    whole = read_package(params)
    return patched(package, params["patch"], params["remove"]) if whole is None else whole


def target(module, client):
    """The deployment to modify. In check mode None if an earlier task may have created it."""
    params = module.params
    deployment = named(client, params)
    if deployment is None:
        message = f"deployment {params['deployment_id'] or params['name']} does not exist"
        if not module.check_mode or params["deployment_id"]:
            raise NotFound(message)
        module.warn(message + " now")
    return deployment


def applied(module, client):
    """Changes the package in one modification, if it differs."""
    deployment = target(module, client)
    if deployment is None:
        return {"changed": True}
    before = deployment.get_package()
    after = wanted(module.params, before)
    result = {"changed": before != after, "deployment_id": deployment.deployment_id, "package": after.to_list()}
    if result["changed"] and not module.check_mode:
        modification = start(module, client, deployment.deployment_id)
        token = modification.modification_token
        try:
            # A preparer may have changed it since it was read.
            before = modification.get_package()
            after = wanted(module.params, before)
            result["changed"] = before != after
            if result["changed"]:
                client.end_deployment_modification(token, package=after)
            else:
                client.cancel_deployment_modification(token)
        except Exception:
            give_up(client, token)
            raise
        result["package"] = after.to_list()
    if module._diff and result["changed"]:
        result["diff"] = [difference(f"package of deployment {deployment.deployment_id}", yaml(before), yaml(after))]
    return result


def start(module, client, deployment_id):
    """Starts a modification, after those of others."""
    deadline = time.monotonic() + module.params["wait_timeout"]
    while True:
        try:
            return client.start_deployment_modification(deployment_id, module.params["seconds"])
        except Busy:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE)


def give_up(client, token):
    """Cancels a modification, so that others need not wait until it expires."""
    try:
        client.cancel_deployment_modification(token)
    except (NotFound, ClaimExpired):
        # It has ended already.
        pass


def started(module, client):
    """Starts a modification."""
    deployment = target(module, client)
    if deployment is None:
        return {"changed": True, "modification_token": "", "package": []}
    result = {"changed": True, "deployment_id": deployment.deployment_id}
    if module.check_mode:
        return {**result, "modification_token": "", "package": deployment.get_package().to_list()}
    modification = start(module, client, deployment.deployment_id)
    return {
        **result,
        "modification_token": modification.modification_token,
        "package": modification.get_package().to_list(),
    }


def ended(module, client):
    """Commits a modification."""
    package = read_package(module.params)
    if module.check_mode:
        return {"changed": True}
    deployment_id = client.end_deployment_modification(module.params["modification_token"], package=package)
    return {"changed": True, "deployment_id": deployment_id}


def cancelled(module, client):
    """Gives up a modification."""
    if module.check_mode:
        return {"changed": True}
    try:
        client.cancel_deployment_modification(module.params["modification_token"])
    except (NotFound, ClaimExpired):
        return {"changed": False}
    return {"changed": True}


if __name__ == "__main__":
    main()
