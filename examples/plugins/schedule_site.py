#!/usr/bin/env python3
"""Schedules a site into a folder: a file for each deployment, with what its cluster is to run.

    tko plugin register schedule folders "$PWD/schedule_site.py" /srv/sites \
        -g infra.nephio.org,v1alpha1,WorkloadCluster

The site's folder in it is named by the site's id, escaped so that no two collide and none lies in
another. Each file is written aside and renamed, so that readers never see half of one; calling it again
changes nothing. Deployments that were taken off the site come as `removedDeployments`: theirs goes.

Plain Python, no packages: the document on stdin is YAML in its JSON form, and JSON on stdout is YAML.
"""

import json
import os
import pathlib
import sys
import urllib.parse


def is_orchestration(resource):
    """Whether a resource is meant for TKO and its like rather than for a cluster."""
    return resource["apiVersion"].rpartition("/")[0].endswith("nephio.org")


def order(resource):
    """Namespaces and CRDs first, then what is cluster-scoped, as far as one can tell, then the rest."""
    if resource["kind"] in ("Namespace", "CustomResourceDefinition"):
        return 0
    return 2 if resource["metadata"].get("namespace") else 1


def write(path, text):
    """Writes a file at once or not at all, and only if it says something else."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def schedule(call, out):
    """Makes the site's folder what the call says."""
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
    """Reads a call from stdin, answers on stdout."""
    call = json.load(sys.stdin)
    try:
        schedule(call, pathlib.Path(sys.argv[1]))
        error = ""
    except (IndexError, KeyError, OSError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    json.dump({"error": error}, sys.stdout)


if __name__ == "__main__":
    main()
