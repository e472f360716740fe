# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Connections to a server, and what all modules share."""

from __future__ import annotations

import contextlib
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    import tko

    MISSING = None
except ImportError:
    MISSING = traceback.format_exc()

# Names a deployment. TKO keeps it with the deployment's other metadata.
NAME = "ansible.name"

SERVER = {
    "server": {"type": "str", "aliases": ["host"], "fallback": (env_fallback, ["TKO_GRPC_SERVER"])},
    "token": {"type": "str", "no_log": True},
    "token_path": {"type": "path", "no_log": False, "fallback": (env_fallback, ["TKO_GRPC_TOKEN"])},
    "tls": {"type": "bool", "default": False},
    "ca": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "server_name": {"type": "str"},
    "timeout": {"type": "float"},
}

FILTERS = {
    "deployment_id": {"type": "str"},
    "name": {"type": "str"},
    "parent_deployment_id": {"type": "str"},
    "template_id": {"type": "str"},
    "site_id": {"type": "str"},
    "metadata": {"type": "dict", "default": {}},
    "template_metadata": {"type": "dict", "default": {}},
    "site_metadata": {"type": "dict", "default": {}},
}

CONTENT = {
    "package": {"type": "raw"},
    "src": {"type": "path"},
    "metadata": {"type": "dict", "default": {}},
}


def create_module(arguments, **options):
    """An AnsibleModule with the options of a connection. Fails if the package `tko` is missing."""
    exclusive = [("token", "token_path"), *options.pop("mutually_exclusive", [])]
    module = AnsibleModule(
        argument_spec={**SERVER, **arguments},
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
        mutually_exclusive=exclusive,
        **options,
    )
    if MISSING is not None:
        module.fail_json(msg=missing_required_lib("tko", url="the folder tko-python of TKO"), exception=MISSING)
    return module


def read_token(path):
    """The token in a file, None without a file."""
    if not path:
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def connect(options):
    """A client with these options."""
    return tko.Client(
        options["server"] or None,
        token=options["token"] or read_token(options["token_path"]),
        ca=options["ca"],
        certificate=options["client_cert"],
        key=options["client_key"],
        server_name=options["server_name"],
        tls=options["tls"],
        timeout=options["timeout"],
    )


@contextlib.contextmanager
def client_of(module):
    """A client of the module's server. Errors of TKO end the module with their message and kind."""
    try:
        with connect(module.params) as client:
            yield client
    except tko.Error as error:
        details = {"kind": type(error).__name__}
        if getattr(error, "violations", None):
            details["violations"] = error.violations
        message = str(error)
        if isinstance(error, tko.Unavailable):
            message += f" (server {module.params['server'] or 'on this machine'})"
        module.fail_json(msg=message, **details)
    except (OSError, TypeError, ValueError) as error:
        module.fail_json(msg=str(error), kind=type(error).__name__)


def text(value):
    """A value of metadata or properties as text: booleans and numbers as YAML writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def texts(mapping):
    """A map of texts."""
    return {str(key): text(value) for key, value in (mapping or {}).items()}


def literal(value):
    """A pattern that matches only this value."""
    return value.replace("\\", "\\\\").replace("*", "\\*")


def visible(metadata):
    """Metadata without the keys that TKO writes itself."""
    return {key: value for key, value in metadata.items() if not key.startswith("nephio.org/")}


def filters(params):
    """The selection of deployments that a module's parameters describe."""
    metadata = texts(params["metadata"])
    if params.get("name"):
        metadata[NAME] = literal(params["name"])
    selection = {
        "parent_deployment_id": params["parent_deployment_id"] or None,
        "metadata_patterns": metadata or None,
        "template_metadata_patterns": texts(params["template_metadata"]) or None,
        "site_metadata_patterns": texts(params["site_metadata"]) or None,
    }
    for name in ("deployment_id", "template_id", "site_id"):
        selection[name + "_patterns"] = [params[name]] if params[name] else None
    return selection


def described(entity, package=False):
    """An entity as a dict, with its package if asked."""
    result = entity.to_ard()
    if not package:
        result.pop("package", None)
    if "metadata" in result:
        result["metadata"] = visible(result["metadata"])
    return result


def find(read, *ids):
    """What a call reads, or None if it does not exist."""
    try:
        return read(*ids)
    except tko.NotFound:
        return None


def gvk(trigger):
    """The kind of a map with `group`, `version` and `kind`."""
    return tko.GVK(trigger["group"], trigger["version"], trigger["kind"])


def warn_of_violations(module, package, complete):
    """Warns if the server's schemas will probably refuse a package: those of Kubernetes are built in."""
    for violation in package.validate(complete=complete):
        place = f"{violation['resource']}: {violation['path']}" if violation["path"] else violation["resource"]
        module.warn(f"will probably be refused: {place}: {violation['message']}")
