"""Runs scripts by the example of starlark: what they make, and how hostile ones end.

    starlark.py TKO MODULE
"""

import json
import re
import subprocess
import sys

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1}}

# Scripts that change a deployment with one replica: the script, its parameters, and the replicas.
GOOD = [
    ('ctx.resource_list["items"][0]["spec"]["replicas"] = 5', {}, 5),
    (
        'def set(items, n):\n'
        '  for item in items:\n'
        '    if item["kind"] == "Deployment":\n'
        '      item["spec"]["replicas"] = n\n'
        'set(ctx.resource_list["items"], ctx.resource_list["functionConfig"]["params"]["n"])',
        {"n": 7},
        7,
    ),
    ('n = 0\nwhile n < 3:\n  n += 1\nctx.resource_list["items"][0]["spec"]["replicas"] = n', {}, 3),
    ('ctx.resource_list["items"][0]["spec"]["replicas"] = len(set([1, 2, 2]))', {}, 2),
    ('ctx.resource_list["items"][0]["spec"]["replicas"] = 2 * 1.5', {}, 3.0),
]

# Scripts that must fail: the script, and words of the error.
BAD = [
    ("while True: pass", "did not finish within|too many steps"),
    ('x = "a" * 10000000000', "too large"),
    ("l = [1]\nwhile True: l = l + l", "bytes of memory|did not finish within"),
    ("def f(): f()\nf()", "stack exhausted|bytes of memory"),
    ('a = []\na.append(a)\nctx.resource_list["items"].append(a)', "100 levels"),
    ('ctx.resource_list["items"].append(len)', "which YAML does not have"),
    ('ctx.resource_list["items"] = "none"', "items"),
    ('print("before")\nfail("not here")', "2:5.*not here"),
    ("x = 1 +", "1:8"),
    ('load("http.star", "http")', "load not implemented"),
    ("x = ctx.environment", "environment"),
]


def run(script, params, kind):
    config = {"apiVersion": "fn.kpt.dev/v1alpha1", "kind": "StarlarkRun", "metadata": {"name": "script"}}
    if kind == "ConfigMap":
        config = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "script"}, "data": {"source": script}}
    else:
        config.update(source=script, params=params)
    text = json.dumps({
        "apiVersion": "config.kubernetes.io/v1",
        "kind": "ResourceList",
        "items": [DEPLOYMENT],
        "functionConfig": config,
    })
    command = [sys.argv[1], "fn", "--timeout", "10s", f"wasm:{sys.argv[2]}"]
    return subprocess.run(command, input=text, capture_output=True, text=True)


def main():
    for script, params, replicas in GOOD:
        for kind in ["StarlarkRun"] if params else ["StarlarkRun", "ConfigMap"]:
            done = run(script, params, kind)
            assert done.returncode == 0, done.stderr
            assert f"replicas: {replicas}\n" in done.stdout, done.stdout
    for script, words in BAD:
        done = run(script, {}, "ConfigMap")
        said = done.stderr + done.stdout
        assert done.returncode != 0, script
        assert re.search(words, said, re.DOTALL), (script, said)
    print(f"starlark: {len(GOOD)} scripts did what they say, {len(BAD)} ended with an error")


main()
