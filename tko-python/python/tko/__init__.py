"""TKO for Python: plugins, clients, and the orchestrator in a notebook.

A plugin is a script with one function:

    #!/usr/bin/env python3
    import tko

    def prepare():
        resource = tko.get_target_resource()
        resource["spec"]["vlan"] = 17
        tko.set_prepared(resource)
        return True

    tko.prepare(prepare)

Register it with the executor `command`, or with `worker` to keep its process running. Packages,
merging, validation and expressions are those of TKO itself, written in Rust.

>>> import tko
>>> package = tko.Package.parse('''
... apiVersion: v1
... kind: ConfigMap
... metadata: {name: settings}
... data: {mode: fast}
... ''')
>>> package.get_first(tko.GVK("", "v1", "ConfigMap"))["data"]
{'mode': 'fast'}
"""

from ._client import AsyncClient, Client
from ._compatible import yaml
from ._embed import PrepareController, Preparer, ScheduleController, Scheduler, Server, Store
from ._plugin import (
    Cancelled,
    Deployments,
    ExecuteError,
    execute,
    get_deployment_id,
    get_deployments,
    get_output_package,
    get_removed_deployments,
    get_site_id,
    get_target_resource,
    get_target_resource_identifier,
    log,
    meta_schedule,
    prepare,
    schedule,
    set_prepared,
    validate,
)
from ._tko import (
    GVK,
    AlreadyExists,
    BadArgument,
    Busy,
    Changes,
    ClaimExpired,
    Conflict,
    Entity,
    Error,
    Event,
    Expired,
    Forbidden,
    Identifier,
    Internal,
    Listing,
    Modification,
    NotFound,
    Package,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Watching,
    __version__,
    matches_id,
    matches_value,
)
from ._values import evaluate_expression, validate_value

__all__ = [
    "GVK",
    "AlreadyExists",
    "AsyncClient",
    "BadArgument",
    "Busy",
    "Cancelled",
    "Changes",
    "ClaimExpired",
    "Client",
    "Conflict",
    "Deployments",
    "Entity",
    "Error",
    "Event",
    "ExecuteError",
    "Expired",
    "Forbidden",
    "Identifier",
    "Internal",
    "Listing",
    "Modification",
    "NotFound",
    "Package",
    "PrepareController",
    "Preparer",
    "ScheduleController",
    "Scheduler",
    "Server",
    "Store",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Watching",
    "__version__",
    "evaluate_expression",
    "execute",
    "get_deployment_id",
    "get_deployments",
    "get_output_package",
    "get_removed_deployments",
    "get_site_id",
    "get_target_resource",
    "get_target_resource_identifier",
    "log",
    "matches_id",
    "matches_value",
    "meta_schedule",
    "prepare",
    "schedule",
    "set_prepared",
    "validate",
    "validate_value",
    "yaml",
]
