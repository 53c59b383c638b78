"""A client that speaks HTTP/2 frame by frame, as no library would."""

import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Self

SERVICE = "analytics.v1.AnalyticsService"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
_ACK = 1
_INITIAL_WINDOW = 4
_MAX_FRAME_BYTES = 16_384

Fields = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: bytes, value: bytes) -> bytes:
    """An HPACK literal that is not kept."""
    return b"\x00" + _hpack_length(len(name)) + name + _hpack_length(len(value)) + value


def fields(method: str = "TrackEvent", extra: Fields = (), **replaced: bytes | None) -> bytes:
    """The headers of a gRPC call; ``content_type=None`` leaves that one out, and so on."""
    plain: dict[bytes, bytes | None] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": f"/{SERVICE}/{method}".encode(),
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    plain |= {name.replace("_", "-").encode(): value for name, value in replaced.items()}
    named = [(name, value) for name, value in plain.items() if value is not None]
    return b"".join(header(name, value) for name, value in [*named, *extra])


def message(body: bytes, *, is_compressed: bool = False, length: int | None = None) -> bytes:
    """A gRPC message; ``length`` is what it claims to be."""
    return bytes([is_compressed]) + struct.pack(">I", len(body) if length is None else length) + body


def data(stream: int, body: bytes, *, is_end: bool = True, size: int = _MAX_FRAME_BYTES) -> bytes:
    """DATA frames of at most ``size`` bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    ends = [0] * (len(pieces) - 1) + [END_STREAM if is_end else 0]
    return b"".join(frame(DATA, flags, stream, piece) for piece, flags in zip(pieces, ends, strict=True))


def call(stream: int, body: bytes, method: str = "TrackEvent") -> bytes:
    """A whole call that is in order."""
    return frame(HEADERS, END_HEADERS, stream, fields(method)) + data(stream, message(body))


class RudeClient:
    """One connection, cut off at the end."""

    def __init__(self, address: str, *, greets: bool = True, window: int | None = None) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        if greets:
            asked = b"" if window is None else struct.pack(">HI", _INITIAL_WINDOW, window)
            self.send(PREFACE + frame(SETTINGS, 0, 0, asked))

    def get_acquainted(self) -> None:
        """Acknowledge the limits that the other end tells, and wait until it knows that."""
        self._receive_until(lambda kind, flags: kind == SETTINGS and not flags & _ACK)
        self.send(frame(SETTINGS, _ACK, 0) + frame(PING, 0, 0, bytes(8)))
        self._receive_until(lambda kind, flags: kind == PING and bool(flags & _ACK))

    def _receive_until(self, is_it: Callable[[int, int], bool]) -> None:
        while head := self._receive_exactly(9):
            self._receive_exactly(int.from_bytes(head[:3], "big"))
            if is_it(head[3], head[4]):
                return

    def _receive_exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size and (more := self.receive(size - len(received))):
            received += more
        return received if len(received) == size else b""

    def send(self, raw: bytes) -> bool:
        """Send as much as is taken; False when the other end has had enough."""
        try:
            self.socket.sendall(raw)
        except OSError:
            return False
        return True

    def receive(self, most: int = 65_536) -> bytes:
        """What has come; empty when the other end is gone or says nothing."""
        with suppress(OSError):
            return self.socket.recv(most)
        return b""

    def reset(self) -> None:
        """End the connection with a RST instead of a FIN."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()


def _hpack_length(length: int) -> bytes:
    if length < 127:
        return bytes([length])
    encoded, rest = bytearray([127]), length - 127
    while rest >= 128:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*encoded, rest])
