"""The whole orchestrator in this process: a store, and controllers with Python handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._client import _Blocking
from ._tko import GVK, Controller, EmbeddedStore, HandlerCall

if TYPE_CHECKING:
    from typing_extensions import Self


class _Running:
    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def stop(self) -> None:
        """Stops it when its work in flight has ended."""
        self._controller.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Server(_Running):
    """A gRPC server of a store."""

    def __init__(self, served: tuple[Controller, str]) -> None:
        super().__init__(served[0])
        #: `HOST:PORT`, for Client.
        self.address = served[1]


class Store(_Blocking):
    """A data service in this process: `Store()` in memory, or `Store("postgresql://…")`.

    It has the calls of a Client.

    >>> store = Store()
    >>> _ = store.register_site("edge/1")
    >>> [site.site_id for site in store.list_sites()]
    ['edge/1']
    """

    def __init__(self, backend: str = "memory") -> None:
        self._store = EmbeddedStore(backend)
        super().__init__(self._store.api())

    def serve(self, address: str = "127.0.0.1", port: int = 0) -> Server:
        """Serves the API over gRPC in plaintext, on loopback only. Port 0 chooses a free port.

        Use it as a context manager, or stop it.
        """
        return Server(self._store.serve(address, port))

    def __repr__(self) -> str:
        return repr(self._store)


Handler = Callable[[HandlerCall], Any]


class PrepareController(_Running):
    """Prepares the deployments of a store, until it is stopped. Use it as a context manager.

    `preparers` are functions by the type of resource that triggers them. Each gets a call with
    `deployment`, `package` and `target`, changes the package in place, and returns True if it is
    done. TKO's own preparers of topologies are always there.
    """

    def __init__(self, store: Store, preparers: Mapping[GVK, Handler] | None = None) -> None:
        super().__init__(Controller.prepare(store._store, dict(preparers or {})))


class ScheduleController(_Running):
    """Schedules the sites of a store, until it is stopped. Use it as a context manager.

    `schedulers` are functions by the type of resource, in the package of a site, that triggers them.
    Each gets a call with `site`, `package`, `target`, `deployments` and `removed_deployments`.
    """

    def __init__(self, store: Store, schedulers: Mapping[GVK, Handler] | None = None) -> None:
        super().__init__(Controller.schedule(store._store, dict(schedulers or {})))
