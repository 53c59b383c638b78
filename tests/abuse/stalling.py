"""A client that sends its messages as fast as the other end lets it, and no further than it wants to."""

import select
import struct
import time

from tests.abuse.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    RudeClient,
    fields,
    frame,
    message,
)

_ACK = 1
_INITIAL_WINDOW = 4
_WINDOW_BYTES = 65_535
_FRAME_BYTES = 16_384
_POLL_SECONDS = 0.02


class StallingClient(RudeClient):
    """Keeps to the other end's windows, so that megabytes can be on their way and never come to an end."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._window = self._initial = _WINDOW_BYTES
        self._windows: dict[int, int] = {}
        self._unsent: dict[int, memoryview] = {}
        self._ends: set[int] = set()
        self._unread = b""

    def begin(
        self, stream: int, body: bytes, *, method: str = "TrackBatch", length: int | None = None, is_end: bool = False
    ) -> None:
        """Begin a call with this much of a message of ``length`` bytes; without ``is_end`` nothing follows."""
        self.send(frame(HEADERS, END_HEADERS, stream, fields(method)))
        self._windows[stream] = 0
        self._unsent[stream] = memoryview(message(body, length=length))
        if is_end:
            self._ends.add(stream)

    def pump(self, seconds: float) -> None:
        """Send what may be sent, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            readable, _, _ = select.select([self.socket], [], [], _POLL_SECONDS)
            if readable:
                received = self.receive(1 << 20)
                if not received:
                    return
                self._read(received)
            if not all(self._send_some(stream) for stream in list(self._unsent)):
                return

    def _send_some(self, stream: int) -> bool:
        unsent = self._unsent[stream]
        size = min(self._window, self._initial + self._windows[stream], len(unsent), _FRAME_BYTES)
        if size <= 0:
            return True
        self._window -= size
        self._windows[stream] -= size
        self._unsent[stream] = unsent[size:]
        is_last = size == len(unsent) and stream in self._ends
        return self.send(frame(DATA, END_STREAM if is_last else 0, stream, bytes(unsent[:size])))

    def _read(self, received: bytes) -> None:
        self._unread += received
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < end:
                return
            kind, flags = self._unread[3], self._unread[4]
            stream = int.from_bytes(self._unread[5:9], "big")
            payload, self._unread = self._unread[9:end], self._unread[end:]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW:
                    self._initial = value
            self.send(frame(SETTINGS, _ACK, 0))
        elif kind == PING and not flags & _ACK:
            self.send(frame(PING, _ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] = self._windows.get(stream, 0) + more
            else:
                self._window += more
