"""``grpc.health.v1`` that lets go of its watchers when the server stops."""

import asyncio
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2


class Health(health.aio.HealthServicer):  # type: ignore[name-defined, misc]  # unknown to the stubs
    """SERVING or not, the same for every name.

    Args:
        services: The names that may be asked about; the empty one means the whole server.
    """

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = services
        self._watches: set[asyncio.Task[None]] = set()
        self._updates: set[asyncio.Task[None]] = set()

    def set_serving(self, *, is_serving: bool) -> None:
        """Tell everybody who asks or watches. On the loop's thread; takes effect before any later call is answered."""
        statuses = health_pb2.HealthCheckResponse
        update = asyncio.ensure_future(self._set_all(statuses.SERVING if is_serving else statuses.NOT_SERVING))
        # The loop itself holds tasks weakly.
        self._updates.add(update)
        update.add_done_callback(self._updates.discard)

    async def _set_all(self, status: int) -> None:
        for service in self._services:
            await self.set(service, status)

    async def Watch(  # noqa: N802  # the method's name on the wire
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> None:
        """Stream the status until the client goes or ``release_watches``."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            self._watches.discard(watch)
            watch.cancel()

    def release_watches(self) -> None:
        """End all streams: a server that stops waits for its calls, and a watch ends only when its client goes."""
        for watch in self._watches:
            watch.cancel()
