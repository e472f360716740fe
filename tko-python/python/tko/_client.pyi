import os
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ._tko import GVK, ApiOperation, Changes, Data, Entity, Error, Listing, Modification, Package, Watching

PackageLike = Package | Iterable[dict[str, Any]] | str | bytes
Trigger = GVK | Mapping[str, str]
Patterns = Sequence[str] | None
Expect = int | bool | None

class Bulk(TypedDict):
    done: int
    skipped: list[tuple[str, str]]

class Change(TypedDict):
    kind: str
    id: str
    revision: int
    at: str
    before: Entity | None
    after: Entity | None
    cause: str | None

class _Calls:
    _data: Data
    def __init__(self, data: Data) -> None: ...
    def _run(self, operation: ApiOperation) -> Any: ...
    def list_templates(
        self,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        offset: int = 0,
        max_count: int = -1,
        *,
        packages: bool = False,
    ) -> Listing: ...
    def list_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        offset: int = 0,
        max_count: int = -1,
        *,
        packages: bool = False,
    ) -> Listing: ...
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
    ) -> Listing: ...
    def list_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
        offset: int = 0,
        max_count: int = -1,
    ) -> Listing: ...
    def changes(self, after: int | None = None) -> Changes: ...
    def watch(self, kind: str, after: int | None = None, packages: bool = False, **selection: Any) -> Watching: ...

class _Blocking(_Calls):
    def about(self) -> dict[str, Any]: ...
    def register_template(
        self,
        template_id: str,
        metadata: Mapping[str, str] | None = None,
        package_format: str = "yaml",
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> int: ...
    def get_template(self, template_id: str) -> Entity: ...
    def delete_template(self, template_id: str) -> None: ...
    def purge_templates(
        self, template_id_patterns: Patterns = None, metadata_patterns: Mapping[str, str] | None = None
    ) -> Bulk: ...
    def register_site(
        self,
        site_id: str,
        template_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        package_format: str = "yaml",
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> int: ...
    def get_site(self, site_id: str) -> Entity: ...
    def delete_site(self, site_id: str) -> None: ...
    def purge_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
    ) -> Bulk: ...
    def create_deployment(
        self,
        template_id: str | None = None,
        parent_deployment_id: str | None = None,
        site_id: str | None = None,
        merge_metadata: Mapping[str, str] | None = None,
        prepared: bool = False,
        approved: bool = False,
        merge_package_format: str = "yaml",
        merge_package: PackageLike | None = None,
        idempotency_key: str | None = None,
    ) -> str: ...
    def create_deployments(self, deployments: Iterable[Mapping[str, Any]]) -> list[str | Error]: ...
    def get_deployment(self, deployment_id: str) -> Entity: ...
    def delete_deployment(self, deployment_id: str) -> None: ...
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
    ) -> Bulk: ...
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
    ) -> Bulk: ...
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
    ) -> int: ...
    def count_templates(
        self,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> int: ...
    def count_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> int: ...
    def count_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
        *,
        bound: int = 1_000_000,
    ) -> int: ...
    def update_deployment(self, deployment_id: str, version: int, package: PackageLike) -> int: ...
    def update_metadata(self, kind: str, id: str, version: int, metadata: Mapping[str, str]) -> int: ...
    def start_deployment_modification(self, deployment_id: str, seconds: float = 300.0) -> Modification: ...
    def end_deployment_modification(
        self, modification_token: str, package_format: str = "yaml", package: PackageLike | None = None
    ) -> str: ...
    def cancel_deployment_modification(self, modification_token: str) -> None: ...
    def retry_deployment(self, deployment_id: str) -> int: ...
    def retry_site(self, site_id: str) -> int: ...
    def register_plugin(
        self,
        type: str,
        name: str,
        executor: str = "command",
        arguments: Sequence[str] | None = None,
        properties: Mapping[str, str] | None = None,
        triggers: Sequence[Trigger] | None = None,
    ) -> int: ...
    def get_plugin(self, type: str, name: str) -> Entity: ...
    def delete_plugin(self, type: str, name: str) -> None: ...
    def purge_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
    ) -> Bulk: ...
    def revision(self) -> int: ...
    def history(self, kind: str, id: str, before: int | None = None, limit: int = 100) -> list[Change]: ...

class Client(_Blocking):
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
    ) -> None: ...
    def __enter__(self) -> Client: ...
    def __exit__(self, *_: object) -> None: ...

class AsyncClient(_Calls):
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
    ) -> None: ...
    async def __aenter__(self) -> AsyncClient: ...
    async def __aexit__(self, *_: object) -> None: ...
    def about(self) -> Awaitable[dict[str, Any]]: ...
    def register_template(
        self,
        template_id: str,
        metadata: Mapping[str, str] | None = None,
        package_format: str = "yaml",
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> Awaitable[int]: ...
    def get_template(self, template_id: str) -> Awaitable[Entity]: ...
    def delete_template(self, template_id: str) -> Awaitable[None]: ...
    def purge_templates(
        self, template_id_patterns: Patterns = None, metadata_patterns: Mapping[str, str] | None = None
    ) -> Awaitable[Bulk]: ...
    def register_site(
        self,
        site_id: str,
        template_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        package_format: str = "yaml",
        package: PackageLike | None = None,
        expect: Expect = None,
    ) -> Awaitable[int]: ...
    def get_site(self, site_id: str) -> Awaitable[Entity]: ...
    def delete_site(self, site_id: str) -> Awaitable[None]: ...
    def purge_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
    ) -> Awaitable[Bulk]: ...
    def create_deployment(
        self,
        template_id: str | None = None,
        parent_deployment_id: str | None = None,
        site_id: str | None = None,
        merge_metadata: Mapping[str, str] | None = None,
        prepared: bool = False,
        approved: bool = False,
        merge_package_format: str = "yaml",
        merge_package: PackageLike | None = None,
        idempotency_key: str | None = None,
    ) -> Awaitable[str]: ...
    def create_deployments(self, deployments: Iterable[Mapping[str, Any]]) -> Awaitable[list[str | Error]]: ...
    def get_deployment(self, deployment_id: str) -> Awaitable[Entity]: ...
    def delete_deployment(self, deployment_id: str) -> Awaitable[None]: ...
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
    ) -> Awaitable[Bulk]: ...
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
    ) -> Awaitable[Bulk]: ...
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
    ) -> Awaitable[int]: ...
    def count_templates(
        self,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Awaitable[int]: ...
    def count_sites(
        self,
        site_id_patterns: Patterns = None,
        template_id_patterns: Patterns = None,
        metadata_patterns: Mapping[str, str] | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Awaitable[int]: ...
    def count_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
        *,
        bound: int = 1_000_000,
    ) -> Awaitable[int]: ...
    def update_deployment(self, deployment_id: str, version: int, package: PackageLike) -> Awaitable[int]: ...
    def update_metadata(self, kind: str, id: str, version: int, metadata: Mapping[str, str]) -> Awaitable[int]: ...
    def start_deployment_modification(self, deployment_id: str, seconds: float = 300.0) -> Awaitable[Modification]: ...
    def end_deployment_modification(
        self, modification_token: str, package_format: str = "yaml", package: PackageLike | None = None
    ) -> Awaitable[str]: ...
    def cancel_deployment_modification(self, modification_token: str) -> Awaitable[None]: ...
    def retry_deployment(self, deployment_id: str) -> Awaitable[int]: ...
    def retry_site(self, site_id: str) -> Awaitable[int]: ...
    def register_plugin(
        self,
        type: str,
        name: str,
        executor: str = "command",
        arguments: Sequence[str] | None = None,
        properties: Mapping[str, str] | None = None,
        triggers: Sequence[Trigger] | None = None,
    ) -> Awaitable[int]: ...
    def get_plugin(self, type: str, name: str) -> Awaitable[Entity]: ...
    def delete_plugin(self, type: str, name: str) -> Awaitable[None]: ...
    def purge_plugins(
        self,
        type: str | None = None,
        name_patterns: Patterns = None,
        executor: str | None = None,
        trigger: Trigger | None = None,
    ) -> Awaitable[Bulk]: ...
    def revision(self) -> Awaitable[int]: ...
    def history(self, kind: str, id: str, before: int | None = None, limit: int = 100) -> Awaitable[list[Change]]: ...
