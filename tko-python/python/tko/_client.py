"""Clients of the data API: blocking and asyncio, over the same calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ._compatible import FORMAT, read_new_deployment, read_package, read_trigger
from ._connection import _connect
from ._tko import GVK, ApiOperation, Changes, Data, Entity, Listing, Package, Watching

PackageLike = Package | Iterable[dict[str, Any]] | str | bytes
Trigger = GVK | Mapping[str, str]
Patterns = Sequence[str] | None
Expect = int | bool | None


class Bulk(TypedDict):
    """The result of a call that works on all matching entities."""

    done: int
    skipped: list[tuple[str, str]]


class Change(TypedDict):
    """One change of an entity."""

    kind: str
    id: str
    revision: int
    at: str
    before: Entity | None
    after: Entity | None
    cause: str | None


def _dict(mapping: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if mapping is None else dict(mapping)


def _selection(**selection: Any) -> dict[str, Any]:
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, (tuple, set)) else value
        for name, value in selection.items()
        if value is not None
    }


class _Calls:
    """The calls of the data API. `_run` makes one, now or later."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def _run(self, operation: ApiOperation) -> Any:
        raise NotImplementedError

    def about(self) -> Any:
        """The server's name, version, backend and addresses."""
        return self._run(self._data.about())

    def register_template(
        self,
        template_id: str,
        metadata: Mapping[str, str] | None = None,
        package_format: str = FORMAT,
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> Any:
        """Creates or replaces a template; returns its version.

        `package_format` is that of a package as text or bytes: `yaml`, `json` or `cbor`.
        `expect`: None (anything), False (it must not exist), or the version that it must have."""
        package = read_package(package, package_format)
        return self._run(self._data.register_template(template_id, _dict(metadata), package, expect))

    def get_template(self, template_id: str) -> Any:
        """Reads a template with its package."""
        return self._run(self._data.get("template", template_id))

    def delete_template(self, template_id: str) -> Any:
        """Deletes a template. Its deployments remain."""
        return self._run(self._data.delete("template", template_id))

    def purge_templates(
        self, template_id_patterns: Patterns = None, metadata_patterns: Mapping[str, str] | None = None
    ) -> Any:
        """Deletes all matching templates."""
        return self._run(
            self._data.purge(
                "template", _selection(template_id_patterns=template_id_patterns, metadata_patterns=metadata_patterns)
            )
        )

    def register_site(
        self,
        site_id: str,
        template_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        package_format: str = FORMAT,
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> Any:
        """Creates or replaces a site; returns its version. `package_format` and `expect` as for templates."""
        package = read_package(package, package_format)
        return self._run(self._data.register_site(site_id, template_id, _dict(metadata), package, expect))

    def get_site(self, site_id: str) -> Any:
        """Reads a site with its package."""
        return self._run(self._data.get("site", site_id))

    def delete_site(self, site_id: str) -> Any:
        """Deletes a site. Its deployments remain."""
        return self._run(self._data.delete("site", site_id))

    def purge_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
    ) -> Any:
        """Deletes all matching sites."""
        return self._run(
            self._data.purge(
                "site",
                _selection(
                    site_id_patterns=site_id_patterns,
                    template_id_patterns=template_id_patterns,
                    metadata_patterns=metadata_patterns,
                ),
            )
        )

    def create_deployment(
        self,
        template_id: str | None = None,
        parent_deployment_id: str | None = None,
        site_id: str | None = None,
        merge_metadata: Mapping[str, str] | None = None,
        prepared: bool = False,
        approved: bool = False,
        merge_package_format: str = FORMAT,
        merge_package: PackageLike | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Creates a deployment; returns its id. A second call with the same key creates nothing.

        `merge_package_format` as `package_format` of templates."""
        merge_package = read_package(merge_package, merge_package_format)
        return self._run(
            self._data.create_deployment(
                parent_deployment_id,
                template_id,
                site_id,
                _dict(merge_metadata),
                prepared,
                approved,
                merge_package,
                idempotency_key,
            )
        )

    def create_deployments(self, deployments: Iterable[Mapping[str, Any]]) -> Any:
        """Creates deployments in one call: dicts of the arguments of `create_deployment`.

        The result has, in the same order, the id of each, or its Error, which is not raised."""
        return self._run(self._data.create_deployments([read_new_deployment(new) for new in deployments]))

    def get_deployment(self, deployment_id: str) -> Any:
        """Reads a deployment with its package."""
        return self._run(self._data.get("deployment", deployment_id))

    def delete_deployment(self, deployment_id: str) -> Any:
        """Deletes a deployment."""
        return self._run(self._data.delete("deployment", deployment_id))

    def purge_deployments(
        self,
        parent_deployment_id: str | None = None,
        template_id_patterns: Patterns = None,
        template_metadata_patterns: Mapping[str, str] | None = None,
        site_id_patterns: Patterns = None,
        site_metadata_patterns: Mapping[str, str] | None = None,
        metadata_patterns: Mapping[str, str] | None = None,
        prepared: bool | None = None,
        approved: bool | None = None,
        deployment_id_patterns: Patterns = None,
    ) -> Any:
        """Deletes all matching deployments."""
        return self._run(
            self._data.purge(
                "deployment",
                _selection(
                    parent_deployment_id=parent_deployment_id,
                    metadata_patterns=metadata_patterns,
                    template_id_patterns=template_id_patterns,
                    template_metadata_patterns=template_metadata_patterns,
                    site_id_patterns=site_id_patterns,
                    site_metadata_patterns=site_metadata_patterns,
                    prepared=prepared,
                    approved=approved,
                    deployment_id_patterns=deployment_id_patterns,
                ),
            )
        )

    def approve_deployments(
        self,
        *,
        parent_deployment_id: str | None = None,
        template_id_patterns: Patterns = None,
        template_metadata_patterns: Mapping[str, str] | None = None,
        site_id_patterns: Patterns = None,
        site_metadata_patterns: Mapping[str, str] | None = None,
        metadata_patterns: Mapping[str, str] | None = None,
        prepared: bool | None = None,
        approved: bool | None = None,
        deployment_id_patterns: Patterns = None,
    ) -> Any:
        """Approves all matching deployments that are prepared."""
        return self._run(
            self._data.approve(
                _selection(
                    parent_deployment_id=parent_deployment_id,
                    metadata_patterns=metadata_patterns,
                    template_id_patterns=template_id_patterns,
                    template_metadata_patterns=template_metadata_patterns,
                    site_id_patterns=site_id_patterns,
                    site_metadata_patterns=site_metadata_patterns,
                    prepared=prepared,
                    approved=approved,
                    deployment_id_patterns=deployment_id_patterns,
                )
            )
        )

    def count_deployments(
        self,
        *,
        bound: int = 1_000_000,
        parent_deployment_id: str | None = None,
        template_id_patterns: Patterns = None,
        template_metadata_patterns: Mapping[str, str] | None = None,
        site_id_patterns: Patterns = None,
        site_metadata_patterns: Mapping[str, str] | None = None,
        metadata_patterns: Mapping[str, str] | None = None,
        prepared: bool | None = None,
        approved: bool | None = None,
        deployment_id_patterns: Patterns = None,
    ) -> Any:
        """Counts the matching deployments, up to `bound`."""
        return self._run(
            self._data.count(
                "deployment",
                _selection(
                    parent_deployment_id=parent_deployment_id,
                    metadata_patterns=metadata_patterns,
                    template_id_patterns=template_id_patterns,
                    template_metadata_patterns=template_metadata_patterns,
                    site_id_patterns=site_id_patterns,
                    site_metadata_patterns=site_metadata_patterns,
                    prepared=prepared,
                    approved=approved,
                    deployment_id_patterns=deployment_id_patterns,
                ),
                bound,
            )
        )

    def count_templates(
        self,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Any:
        """Counts the matching templates, up to `bound`."""
        return self._run(
            self._data.count(
                "template",
                _selection(template_id_patterns=template_id_patterns, metadata_patterns=metadata_patterns),
                bound,
            )
        )

    def count_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Any:
        """Counts the matching sites, up to `bound`."""
        return self._run(
            self._data.count(
                "site",
                _selection(
                    site_id_patterns=site_id_patterns,
                    template_id_patterns=template_id_patterns,
                    metadata_patterns=metadata_patterns,
                ),
                bound,
            )
        )

    def count_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Any:
        """Counts the matching plugins, up to `bound`."""
        return self._run(
            self._data.count(
                "plugin",
                _selection(type=type, name_patterns=name_patterns, executor=executor, trigger=read_trigger(trigger)),
                bound,
            )
        )

    def update_deployment(self, deployment_id: str, version: int, package: PackageLike) -> Any:
        """Replaces the package if the deployment still has this version; returns the new version."""
        return self._run(self._data.update(deployment_id, version, read_package(package, FORMAT)))

    def update_metadata(self, kind: str, id: str, version: int, metadata: Mapping[str, str]) -> Any:
        """Replaces the metadata that were given to an entity of this version; returns the new version.

        `kind` is `template`, `site`, `deployment` or `plugin`.
        """
        return self._run(self._data.update_metadata(kind, id, version, dict(metadata)))

    def start_deployment_modification(self, deployment_id: str, seconds: float = 300.0) -> Any:
        """Starts a modification: until it ends, nobody else can change the package.

        `seconds` is the time after which it expires. The result has the token and the package; it can
        also be unpacked: `token, deployment = client.start_deployment_modification(id)`."""
        return self._run(self._data.start_modification(deployment_id, seconds))

    def end_deployment_modification(
        self, modification_token: str, package_format: str = FORMAT, package: PackageLike | None = None
    ) -> Any:
        """Commits a modification with the new package; returns the id of the deployment.

        `package_format` as for templates."""
        if package is None:
            raise TypeError("end_deployment_modification needs the new package, as package=...")
        return self._run(self._data.end_modification(modification_token, read_package(package, package_format)))

    def cancel_deployment_modification(self, modification_token: str) -> Any:
        """Gives up a modification."""
        return self._run(self._data.cancel_modification(modification_token))

    def retry_deployment(self, deployment_id: str) -> Any:
        """Makes work of a deployment and its site that waits for its next attempt due at once.

        Returns how many pieces of work that were.
        """
        return self._run(self._data.retry("deployment", deployment_id))

    def retry_site(self, site_id: str) -> Any:
        """Makes work of a site that waits for its next attempt due at once.

        Returns how many pieces of work that were.
        """
        return self._run(self._data.retry("site", site_id))

    def register_plugin(
        self,
        type: str,
        name: str,
        executor: str = "command",
        arguments: Sequence[str] | None = None,
        properties: Mapping[str, str] | None = None,
        triggers: Sequence[Trigger] | None = None,
    ) -> Any:
        """Creates or replaces a plugin; returns its version.

        A trigger is a GVK, or a dict with the keys `group`, `version` and `kind`."""
        kinds = [read_trigger(trigger) for trigger in triggers or ()]
        return self._run(
            self._data.register_plugin(type, name, executor, list(arguments or ()), _dict(properties), kinds)
        )

    def get_plugin(self, type: str, name: str) -> Any:
        """Reads a plugin."""
        return self._run(self._data.get("plugin", f"{type}|{name}"))

    def delete_plugin(self, type: str, name: str) -> Any:
        """Deletes a plugin."""
        return self._run(self._data.delete("plugin", f"{type}|{name}"))

    def purge_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
    ) -> Any:
        """Deletes all matching plugins."""
        return self._run(
            self._data.purge(
                "plugin",
                _selection(
                    type=type, name_patterns=name_patterns, executor=executor, trigger=read_trigger(trigger)
                ),
            )
        )

    def revision(self) -> Any:
        """The last revision of the change feed, to watch after."""
        return self._run(self._data.feed_position())

    def history(self, kind: str, id: str, before: int | None = None, limit: int = 100) -> Any:
        """The changes of an entity, newest first, each a Change."""
        return self._run(self._data.history(kind, id, before, limit))

    def changes(self, after: int | None = None) -> Changes:
        """Lists the changes of all entities after a revision, oldest first, up to the last one.

        Each is a Change, without packages."""
        return self._data.changes(after)

    def list_templates(
        self,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        offset: int = 0,
        max_count: int = -1,
        *,
        packages: bool = False,
    ) -> Listing:
        """Lists templates in the order of their ids."""
        return self._data.list(
            "template",
            _selection(template_id_patterns=template_id_patterns, metadata_patterns=metadata_patterns),
            offset,
            max_count,
            packages,
        )

    def list_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        offset: int = 0,
        max_count: int = -1,
        *,
        packages: bool = False,
    ) -> Listing:
        """Lists sites in the order of their ids."""
        return self._data.list(
            "site",
            _selection(
                site_id_patterns=site_id_patterns,
                template_id_patterns=template_id_patterns,
                metadata_patterns=metadata_patterns,
            ),
            offset,
            max_count,
            packages,
        )

    def list_deployments(
        self,
        parent_deployment_id: str | None = None,
        template_id_patterns: Patterns = None,
        template_metadata_patterns: Mapping[str, str] | None = None,
        site_id_patterns: Patterns = None,
        site_metadata_patterns: Mapping[str, str] | None = None,
        metadata_patterns: Mapping[str, str] | None = None,
        prepared: bool | None = None,
        approved: bool | None = None,
        offset: int = 0,
        max_count: int = -1,
        *,
        deployment_id_patterns: Patterns = None,
        packages: bool = False,
    ) -> Listing:
        """Lists deployments in the order of their ids."""
        return self._data.list(
            "deployment",
            _selection(
                parent_deployment_id=parent_deployment_id,
                metadata_patterns=metadata_patterns,
                template_id_patterns=template_id_patterns,
                template_metadata_patterns=template_metadata_patterns,
                site_id_patterns=site_id_patterns,
                site_metadata_patterns=site_metadata_patterns,
                prepared=prepared,
                approved=approved,
                deployment_id_patterns=deployment_id_patterns,
            ),
            offset,
            max_count,
            packages,
        )

    def list_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
        offset: int = 0,
        max_count: int = -1,
    ) -> Listing:
        """Lists plugins in the order of type and name."""
        return self._data.list(
            "plugin",
            _selection(type=type, name_patterns=name_patterns, executor=executor, trigger=read_trigger(trigger)),
            offset,
            max_count,
            False,
        )

    def watch(self, kind: str, after: int | None = None, packages: bool = False, **selection: Any) -> Watching:
        """Watches the changes of the matching entities after a revision, by default from now on.

        `selection` as in the listing of this kind. The watch has no end: break, or close it."""
        return self._data.watch(kind, selection, after, packages)


class _Blocking(_Calls):
    def _run(self, operation: ApiOperation) -> Any:
        return operation.wait()


class Client(_Blocking):
    """A client of a TKO server. Every call waits for its result, and Ctrl-C ends the wait.

    Within a plugin, `Client()` connects to the server of the call. Otherwise the server is
    `HOST:PORT`, by default `$TKO_GRPC_SERVER` or `[::1]:50050`; `host` is another name of `server`. `ca`,
    `certificate` and `key` are PEM files; `tls=True` trusts the CAs of the operating system. Listings are
    iterators, which read a bounded number of entities ahead.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        host: str | None = None,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        server_name: str | None = None,
        tls: bool = False,
        timeout: float | None = None,
    ) -> None:
        super().__init__(_connect(server, host, token, ca, certificate, key, server_name, tls, timeout))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the connection to the garbage collector."""


class AsyncClient(_Calls):
    """A client of a TKO server for asyncio: as Client, but calls are awaited.

    Listings and watches are for `async for`.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        host: str | None = None,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        server_name: str | None = None,
        tls: bool = False,
        timeout: float | None = None,
    ) -> None:
        super().__init__(_connect(server, host, token, ca, certificate, key, server_name, tls, timeout))

    def _run(self, operation: ApiOperation) -> Any:
        return operation.start()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves the connection to the garbage collector."""
