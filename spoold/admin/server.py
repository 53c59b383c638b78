"""The admin socket: only whoever may open the file may ask."""

import errno
import os
import socket
from pathlib import Path

import grpc

from spoold.admin.servicer import AdminServicer
from spoold.api.spoold.admin.v1 import admin_pb2_grpc
from spoold.errors import ListenError

_SOCKET_MODE = 0o660
_FOLDER_MODE = 0o750

#: Calls at one moment, long ones included; one more is answered RESOURCE_EXHAUSTED.
_MOST_CALLS = 32
_OPTIONS = (
    # As many connections; one more is closed as it comes. Descriptors are kept for so many (``ingest/server.py``).
    ("grpc.max_allowed_incoming_connections", _MOST_CALLS),
    # Who connects and says nothing keeps an operator out for no longer; calls that last go on.
    ("grpc.server_handshake_timeout_ms", 2_000),
    ("grpc.http2.settings_timeout", 2_000),
    ("grpc.max_connection_age_ms", 10_000),
    ("grpc.max_concurrent_streams", _MOST_CALLS),
)


class AdminServer:
    """Serves the admin API on a unix socket. All methods belong on the loop's thread."""

    def __init__(self, path: Path, servicer: AdminServicer) -> None:
        self._path = path
        self._servicer = servicer
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen.

        The caller must hold the spool's directory lock: a file that is left over is replaced, and only the lock says
        that no daemon of this spool is about to listen on it. One on which somebody answers is another spool's
        daemon's, and stays; grpcio would replace it without a word, and remove it at its own end.

        Raises:
            ListenError: The socket can't be made.
        """
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self._servicer, server)
        try:
            self._path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            _remove_leftover(self._path)
            server.add_insecure_port(f"unix:{self._path}")
            # Before the first call is answered.
            self._path.chmod(_SOCKET_MODE)
            await server.start()
        except (OSError, RuntimeError) as exc:
            # grpcio's own message names an address and no reason.
            reason = (exc.strerror or str(exc)) if isinstance(exc, OSError) else _why_not(self._path)
            raise ListenError(
                f"admin.socket (ADMIN_SOCKET) {self._path}: {reason}; name a path in a folder that this user may write",
                address=f"unix:{self._path}",
            ) from exc
        self._server = server

    async def stop(self, grace_seconds: float) -> None:
        """Let calls in flight finish for at most ``grace_seconds``. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_seconds)
            self._path.unlink(missing_ok=True)


def _remove_leftover(path: Path) -> None:
    # A mistyped path must not cost anybody a file.
    if os.path.lexists(path) and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    if _is_answered(path):
        raise OSError(errno.EADDRINUSE, "another process listens there, perhaps the daemon of another spool")
    path.unlink(missing_ok=True)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        # A listener that is too busy to take the call counts as one.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            return True
    return True


def _why_not(path: Path) -> str:
    return "the folder can't be written" if not os.access(path.parent, os.W_OK) else "it can't be listened on"
