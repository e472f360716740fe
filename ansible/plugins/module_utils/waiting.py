# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Finding deployments by name, and waiting for them."""

from __future__ import annotations

import threading
import time

try:
    import tko
except ImportError:
    # The module says so when it starts.
    tko = None

from .server import NAME, find, literal

# The condition that each state waits for.
CONDITIONS = {"prepared": "Prepared", "approved": "Approved", "scheduled": "Scheduled"}


def by_name(client, name, parent=None):
    """The deployment with this name, None if there is none.

    Children inherit nothing from their parents, but a person may have given them the same metadata."""
    found = [
        deployment
        for deployment in client.list_deployments(metadata_patterns={NAME: literal(name)}, max_count=1000)
        if parent is None or deployment.parent_deployment_id == parent
    ]
    if len(found) > 1:
        ids = ", ".join(deployment.deployment_id for deployment in found)
        raise ValueError(f"several deployments have the name {name}: {ids}; give deployment_id")
    return find(client.get_deployment, found[0].deployment_id) if found else None


def named(client, params):
    """The deployment of the options `deployment_id` or `name`, None if it does not exist."""
    if params.get("deployment_id"):
        return find(client.get_deployment, params["deployment_id"])
    return by_name(client, params["name"], params.get("parent_deployment_id"))


def deleting(deployment):
    """Whether a deployment is being deleted."""
    return bool(getattr(deployment, "deleting", False))


def reached(deployment, state):
    """Whether a deployment, or its absence, is what `state` waits for."""
    if state == "gone":
        return deployment is None
    if deployment is None:
        return False
    if state == "prepared":
        return deployment.prepared
    if state == "approved":
        return deployment.approved
    return deployment.approved and any(
        condition["type"] == CONDITIONS[state]
        and condition["status"] == "True"
        and condition["observed_generation"] == deployment.generation
        for condition in deployment.conditions
    )


def wait(client, deployment_id, state, seconds):
    """Follows the changes of a deployment until it has reached a state; returns it.

    Raises TimeoutError with the conditions that say what it waits for."""
    deadline = time.monotonic() + seconds
    while True:
        revision = client.revision()
        deployment = find(client.get_deployment, deployment_id)
        if reached(deployment, state):
            return deployment
        if deployment is None:
            raise ValueError(f"deployment {deployment_id} was deleted while it was waited for")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(
                f"deployment {deployment_id} is not {state} after {seconds:g} s{obstacles(deployment)}"
            )
        next_change(client, deployment_id, revision, left)


def next_change(client, deployment_id, revision, seconds):
    """Returns at the next change of a deployment, or after some time."""
    watch = client.watch("deployment", after=revision, deployment_id_patterns=[literal(deployment_id)])
    timer = threading.Timer(seconds, watch.close)
    timer.daemon = True
    timer.start()
    try:
        for event in watch:
            if event.type != "bookmark":
                return
    except tko.Expired:
        # The server no longer has that revision: read again.
        return
    finally:
        timer.cancel()
        watch.close()


def obstacles(deployment):
    """The conditions that do not hold, as text."""
    lines = [
        f"\n{condition['type']}: {condition['reason']}: {condition['message']}"
        for condition in deployment.conditions
        if condition["status"] != "True"
    ]
    return "".join(lines)
