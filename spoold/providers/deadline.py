"""Connections that keep one deadline from the first byte to the last, and that another thread can cut off.

``requests`` and ``urllib3`` bound each single ``recv``, so a peer that sends a byte now and then holds a caller for
ever. Here every step of a call asks how much of its time is left: connecting, the TLS handshake, sending, and each
``recv`` of the reply, status line and headers included. The one step without a bound of ours is the name lookup:
``getaddrinfo`` takes no time-out, the resolver's own holds (resolv.conf: 5 s times 2 attempts per server by default).
"""

import io
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from spoold.clock import Clock

#: Most bytes handed to the kernel (or to TLS) between two looks at the clock.
_SEND_BYTES = 65_536


class Call:
    """One request under way: how long it may last, how far it came. Made for one thread; ``abort`` is for any.

    Attributes:
        was_sent: The first byte of the request may have left: from here on the outcome is unknown without a reply.
        is_aborted: ``abort`` was called.
    """

    def __init__(self, clock: Clock, *, connect_seconds: float, total_seconds: float) -> None:
        started_at = clock.monotonic()
        self._clock = clock
        self._ends_at = started_at + total_seconds
        self._connected_by = started_at + min(connect_seconds, total_seconds)
        self._sock: socket.socket | None = None
        self.was_sent = False
        self.is_aborted = False

    def remaining_seconds(self) -> float:
        """What is left for the whole call.

        Raises:
            TimeoutError: Nothing is left.
        """
        return self._until(self._ends_at)

    def remaining_connect_seconds(self) -> float:
        """What is left for the connection, TLS included; raises TimeoutError like ``remaining_seconds``."""
        return self._until(self._connected_by)

    def watch(self, sock: socket.socket) -> None:
        """Make ``sock`` the one that ``abort`` shuts down."""
        self._sock = sock
        # Store, then look: abort() marks, then shuts down, so that one of the two sees the other.
        if self.is_aborted:
            raise ConnectionAbortedError

    def abort(self) -> None:
        """Make the call end soon, whatever it waits for. The name lookup alone can't be interrupted."""
        self.is_aborted = True
        sock = self._sock
        if sock is not None:
            # SSLSocket.shutdown would take the TLS state from under the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _until(self, moment: float) -> float:
        left = moment - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


#: The call that the running thread is in. urllib3 makes and reuses connections on its own, so this can't be passed.
CURRENT_CALL: ContextVar[Call] = ContextVar("current_call")


class _TimedReader(io.RawIOBase):
    """A socket's bytes, none later than the call's deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(CURRENT_CALL.get().remaining_seconds())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """Reads the status line, the headers and the body within the call's deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))


class TimedConnection(HTTPConnection):
    """A connection whose every step keeps the deadline of the call that uses it."""

    response_class = _TimedResponse

    _is_connecting = False

    def connect(self) -> None:
        """Connect; what is sent meanwhile (a proxy's CONNECT) is not the request yet."""
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def send(self, data: Any) -> None:
        """Send all of ``data`` (bytes), or raise TimeoutError at the deadline."""
        if self.sock is None:
            self.connect()
        call = CURRENT_CALL.get()
        call.watch(self.sock)
        if not self._is_connecting:
            call.was_sent = True
        view = memoryview(data)
        while view:
            self.sock.settimeout(call.remaining_seconds())
            view = view[self.sock.send(view[:_SEND_BYTES]) :]

    def _new_conn(self) -> socket.socket:
        call = CURRENT_CALL.get()
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        addresses = [(family, address) for family, _, _, _, address in found]
        try:
            return self._connect_to_any(call, addresses)
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "timed out") from exc
        except OSError as exc:
            raise NewConnectionError(self, "failed") from exc

    def _connect_to_any(self, call: Call, addresses: Sequence[tuple[int, Any]]) -> socket.socket:
        for position, (family, address) in enumerate(addresses):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                call.watch(sock)
                # An equal share for each: a first address that swallows packets must leave time for the next.
                sock.settimeout(call.remaining_connect_seconds() / (len(addresses) - position))
                sock.connect(address)
            except OSError:
                sock.close()
                if position == len(addresses) - 1:
                    raise
            else:
                return sock
        raise OSError("the name has no address")


class TimedTlsConnection(TimedConnection, HTTPSConnection):
    """The same, over TLS."""


class TimedTlsSocket(ssl.SSLSocket):
    """Shakes hands within the call's time to connect. Set as ``SSLContext.sslsocket_class``."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Shake hands; the time-out of one handshake is a deadline for all its messages."""
        call = CURRENT_CALL.get()
        # wrap_socket() has taken the descriptor from the socket watched so far.
        call.watch(self)
        self.settimeout(call.remaining_connect_seconds())
        super().do_handshake(block)


class TimedPool(HTTPConnectionPool):
    """Keeps ``TimedConnection`` objects."""

    ConnectionCls = TimedConnection


class TimedTlsPool(HTTPSConnectionPool):
    """Keeps ``TimedTlsConnection`` objects."""

    ConnectionCls = TimedTlsConnection
