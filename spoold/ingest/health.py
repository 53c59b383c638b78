"""``grpc.health.v1`` that lets go of its watchers when the server stops."""

import asyncio
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2

_Statuses = health_pb2.HealthCheckResponse


class Health(health.aio.HealthServicer):  # type: ignore[name-defined, misc]  # unknown to the stubs
    """SERVING or not, the same for every name.

    Args:
        services: The names that may be asked about; the empty one means the whole server.
    """

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = services
        self._changed = asyncio.Event()
        self._is_released = False

    def set_serving(self, *, is_serving: bool) -> None:
        """Tell everybody who asks or watches. On the loop's thread; takes effect before any later call is answered."""
        status = _Statuses.SERVING if is_serving else _Statuses.NOT_SERVING
        self._server_status.update(dict.fromkeys(self._services, status))
        self._wake()

    async def Watch(  # noqa: N802  # the method's name on the wire
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> None:
        """Stream the status until the client goes or ``release_watches``.

        A watch is never cancelled by us: a write that is broken off leaves a call that can't be ended in order.
        """
        told = None
        while True:
            changed, status = self._changed, self._server_status.get(request.service, _Statuses.SERVICE_UNKNOWN)
            if status != told:
                await context.write(_Statuses(status=status))
                told = status
            elif self._is_released:
                return
            else:
                await changed.wait()

    def release_watches(self) -> None:
        """End all streams once they know the last status: a server that stops waits for its calls."""
        self._is_released = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
