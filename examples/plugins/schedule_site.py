#!/usr/bin/env python3
"""Schedules a site by writing files: one for each deployment, with the resources for its cluster.

    tko plugin register schedule folders "$PWD/schedule_site.py" /srv/sites \
        -g infra.nephio.org,v1alpha1,WorkloadCluster

The name of a site's folder is the site's id, escaped so that folders neither collide nor nest. Each file
is written under another name and then renamed, so that readers never see a part of it. Another call with
the same input changes nothing. The files of `removedDeployments` are deleted.

Needs no Python packages: the document on stdin is JSON, and TKO reads JSON from stdout as YAML.
"""

import json
import os
import pathlib
import sys
import urllib.parse


def is_orchestration(resource):
    """Returns whether a resource is meant for TKO, not for a cluster."""
    return resource["apiVersion"].rpartition("/")[0].endswith("nephio.org")


def order(resource):
    """Sort key: namespaces and CRDs first, then resources without a namespace, then the rest."""
    if resource["kind"] in ("Namespace", "CustomResourceDefinition"):
        return 0
    return 2 if resource["metadata"].get("namespace") else 1


def write(path, text):
    """Writes a file atomically, and only if its content changes."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def schedule(call, out):
    """Writes and deletes files until the site's folder matches the call."""
    target = call["targetResourceIdentifier"]["name"]
    folder = out / urllib.parse.quote(call["siteId"], safe="").replace(".", "%2E")
    folder.mkdir(parents=True, exist_ok=True)
    for deployment, package in call["deployments"].items():
        items = sorted((item for item in package if not is_orchestration(item)), key=order)
        manifests = {"apiVersion": "v1", "kind": "List", "items": items}
        write(folder / f"{deployment}.json", json.dumps(manifests, indent=2) + "\n")
    for deployment in call.get("removedDeployments") or {}:
        if deployment not in call["deployments"]:
            (folder / f"{deployment}.json").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    print(f"{call['siteId']}: {len(call['deployments'])} deployments for {target}", file=sys.stderr)


def main():
    """Reads a call from stdin and writes the answer to stdout."""
    call = json.load(sys.stdin)
    try:
        schedule(call, pathlib.Path(sys.argv[1]))
        error = ""
    except (IndexError, KeyError, OSError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    json.dump({"error": error}, sys.stdout)


if __name__ == "__main__":
    main()
