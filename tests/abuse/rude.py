"""What callers may do to the door. Each of these ends by itself, in a second or so, and returns how much it tried."""

import gzip
import random
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.ingest.servicer import MAX_MESSAGE_BYTES
from tests.abuse.stalling import StallingClient
from tests.abuse.wire import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RudeClient,
    call,
    data,
    fields,
    frame,
    header,
    message,
)

Abuse = Callable[[str, random.Random], int]

_CANCEL = struct.pack(">I", 8)
_EVENT = pb.TrackEventRequest(event_name="Rude").SerializeToString()
_BATCH = pb.TrackBatchRequest(items=[{"track": {"event_name": "Rude"}}] * 200).SerializeToString()
_METHODS = ("TrackEvent", "IdentifyUser", "TrackBatch", "HealthCheck", "GetEventCount", "Nothing")


def random_bytes(address: str, rng: random.Random) -> int:
    """No HTTP at all, HTTP/1, a preface and then noise."""
    for start in (b"", PREFACE, PREFACE + frame(SETTINGS, 0, 0), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01") * 6:
        with RudeClient(address, greets=False) as client:
            client.send(start + rng.randbytes(rng.randint(1, 2000)))
    return 30


def random_frames(address: str, rng: random.Random) -> int:
    """Frames of all kinds, flags and streams with anything in them."""
    for _ in range(30):
        with RudeClient(address) as client:
            for _ in range(rng.randint(1, 20)):
                client.send(
                    frame(rng.randrange(12), rng.randrange(256), rng.randrange(8), rng.randbytes(rng.randrange(60)))
                )
    return 30


def random_messages(address: str, rng: random.Random) -> int:
    """gRPC messages of random bytes to every method, and to some that are not there."""
    with RudeClient(address) as client:
        for stream in range(1, 201, 2):
            client.send(call(stream, rng.randbytes(rng.randrange(200)), rng.choice(_METHODS)))
        client.receive()
    return 100


def odd_headers(address: str, rng: random.Random) -> int:
    """A wrong content type, method, path, encoding or time-out; headers that must not be there, or twice."""
    odd = [
        fields(content_type=b"text/html"),
        fields(content_type=None),
        fields(te=None),
        fields(extra=[(b":method", b"GET")]),
        fields(extra=[(b"grpc-encoding", b"zstd")]),
        fields(extra=[(b"grpc-timeout", b"99999999999999H"), (b"grpc-timeout", b"-1S")]),
        fields(extra=[(b"x-bin", b"%%%"), (b"grpc-status", b"0"), (b"connection", b"close")]),
        fields("../../etc/passwd"),
        fields("TrackEvent" * 300),
        fields("\x00"),
        b"\xff" * 50,
    ]
    for block in rng.sample(odd, len(odd)):
        with RudeClient(address) as client:
            client.send(frame(HEADERS, END_HEADERS, 1, block) + data(1, message(_EVENT)))
            client.receive()
    return len(odd)


def huge_metadata(address: str, rng: random.Random) -> int:
    """One large header, very many small ones, and a block of headers that does not end soon."""
    for size in (20_000, 100_000):
        with RudeClient(address) as client:
            block = fields(extra=[(b"x-big", rng.randbytes(size).hex().encode())])
            client.send(_split_headers(block) + data(1, message(_EVENT)))
        with RudeClient(address) as client:
            block = fields(extra=[(b"x-%d" % number, b"y" * 40) for number in range(size // 50)])
            client.send(_split_headers(block) + data(1, message(_EVENT)))
    # grpcio holds to no limit of ours who has not acknowledged it (server.py): one of these, and not more of it.
    _send_endless_headers(address, 16_000, 8 << 20, is_acquainted=False)
    return 5


def endless_headers(address: str, rng: random.Random) -> int:
    """Blocks of headers that do not end, on eight connections at once: very many small ones, or 64 MB of large ones."""
    floods = [(1, 8 << 20), (16_000, 64 << 20)] * 4
    rng.shuffle(floods)
    _at_once([lambda flood=flood: _send_endless_headers(address, *flood) for flood in floods])  # type: ignore[misc]
    return len(floods)


def oversize(address: str, rng: random.Random) -> int:
    """Messages over 4 MiB, ones that say that they are, and ones that are not what they say."""
    with StallingClient(address) as client:
        client.begin(1, bytes(MAX_MESSAGE_BYTES + 1 + rng.randrange(2_000_000)), is_end=True)
        client.pump(0.5)
    for length in (2**32 - 1, 2**31, MAX_MESSAGE_BYTES * 2, 0, 1):
        with RudeClient(address) as client:
            start = frame(HEADERS, END_HEADERS, 1, fields())
            client.send(start + data(1, message(_EVENT, length=length)))
            client.receive()
    return 6


def compressed_bombs(address: str, rng: random.Random) -> int:
    """Compressed messages that grow a thousand times, and ones that are no compressed messages."""
    bomb = gzip.compress(bytes(60 << 20), 6)
    bodies = [bomb, gzip.compress(bomb), bomb[: len(bomb) // 2], rng.randbytes(500), b""]
    for body in bodies:
        with RudeClient(address) as client:
            start = frame(HEADERS, END_HEADERS, 1, fields(extra=[(b"grpc-encoding", b"gzip")]))
            client.send(start + data(1, message(body, is_compressed=True)))
            client.receive()
    return len(bodies)


def protobuf_bombs(address: str, rng: random.Random) -> int:
    """Messages whose bytes say little and make many objects."""
    varint = _varint
    nothing = b"\x0a\x00" * 2_000_000
    value = b"\x22" + varint(len(nothing)) + nothing
    entry = b"\x0a\x01k\x12" + varint(len(value)) + value
    bombs = [
        ("TrackBatch", nothing),
        ("TrackBatch", b"\x0a\x04\x0a\x02\x0a\x00" * 600_000),
        ("TrackBatch", b"\x0a" + b"\x80" * 4_000_000),
        ("TrackEvent", b"\x0a\x01a\x1a" + varint(len(entry)) + entry),
        ("IdentifyUser", b"\x12" + varint(len(entry)) + entry),
        ("HealthCheck", nothing),
    ]
    method, body = rng.choice(bombs)
    with StallingClient(address) as client:
        client.begin(1, body, method=method, is_end=True)
        client.pump(0.6)
    return 1


def half_messages(address: str, rng: random.Random) -> int:
    """Half a message, and then nothing: as many as a connection takes, on several."""
    with ExitStack() as stack:
        clients = [stack.enter_context(StallingClient(address)) for _ in range(3)]
        for client in clients:
            for stream in range(1, 201, 2):
                client.begin(stream, bytes(rng.choice([100, 100_000, 2_000_000])), length=MAX_MESSAGE_BYTES)
        _at_once([lambda client=client: client.pump(0.8) for client in clients])  # type: ignore[misc]
    return 300


def half_messages_and_resets(address: str, rng: random.Random) -> int:
    """Half a message, and then the connection is reset."""
    for _ in range(100):
        client = RudeClient(address)
        half = frame(HEADERS, END_HEADERS, 1, fields()) + data(1, message(_EVENT, length=50_000), is_end=False)
        client.send(half[: rng.randrange(1, len(half))])
        client.reset()
    return 100


def many_connections(address: str, rng: random.Random) -> int:
    """A crowd that connects, says hello or not even that, and stays for a moment."""
    clients = [RudeClient(address, greets=rng.random() < 0.7) for _ in range(700)]
    for client in clients:
        client.reset() if rng.random() < 0.5 else client.socket.close()
    return len(clients)


def quick_connections(address: str, rng: random.Random) -> int:
    """Connect, call, hang up, again and again."""
    for _ in range(400):
        client = RudeClient(address)
        client.send(call(1, _EVENT, rng.choice(_METHODS)))
        client.reset()
    return 400


def rapid_resets(address: str, rng: random.Random) -> int:
    """A call and its end in one breath."""
    with RudeClient(address) as client:
        for first in range(1, 6_001, 200):
            calls = (
                call(stream, _EVENT) + frame(RST_STREAM, 0, stream, _CANCEL) for stream in range(first, first + 200, 2)
            )
            client.send(b"".join(calls))
            client.socket.settimeout(0.01 * rng.random() + 0.001)
            client.receive()
            client.socket.settimeout(5)
    return 3_000


def many_streams(address: str, rng: random.Random) -> int:
    """More calls at once than a connection may have, all of them good, and no wait for the answers."""
    with RudeClient(address) as client:
        for stream in range(1, 2_001, 2):
            client.send(call(stream, _EVENT if rng.random() < 0.9 else rng.randbytes(9)))
        client.receive()
    return 1_000


def slow_readers(address: str, rng: random.Random) -> int:
    """Callers that never fetch a reply: a window of nothing, or a socket that is not read."""
    with ExitStack() as stack:
        for window in (0, 1, None):
            client = stack.enter_context(RudeClient(address, window=window))
            for stream in range(1, 81, 2):
                client.send(call(stream, _BATCH, "TrackBatch"))
        stack.enter_context(RudeClient(address)).receive()
        # As long as a caller may take that has nothing to do.
        stack.enter_context(StallingClient(address)).pump(0.6 + rng.random() / 5)
    return 120


def floods(address: str, rng: random.Random) -> int:
    """Frames that want an answer, more than anybody reads."""
    floods = [
        frame(PING, 0, 0, bytes(8)),
        frame(SETTINGS, 0, 0),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, fields()),
    ]
    for flood in rng.sample(floods, 2):
        with RudeClient(address) as client:
            for _ in range(100):
                client.send(flood * 100)
    return 20_000


ABUSES: dict[str, Abuse] = {
    abuse.__name__: abuse
    for abuse in (
        random_bytes,
        random_frames,
        random_messages,
        odd_headers,
        huge_metadata,
        endless_headers,
        oversize,
        compressed_bombs,
        protobuf_bombs,
        half_messages,
        half_messages_and_resets,
        many_connections,
        quick_connections,
        rapid_resets,
        many_streams,
        slow_readers,
        floods,
    )
}


def _at_once(works: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _send_endless_headers(address: str, size: int, most: int, *, is_acquainted: bool = True) -> None:
    more = frame(CONTINUATION, 0, 1, header(b"a", b"b" * size)) * (64_000 // size)
    with RudeClient(address) as client:
        if is_acquainted:
            client.get_acquainted()
        client.send(frame(HEADERS, 0, 1, fields()))
        for _ in range(most // len(more)):
            if not client.send(more):
                return


def _split_headers(block: bytes) -> bytes:
    pieces = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    flags = [0] * (len(pieces) - 1) + [END_HEADERS]
    return b"".join(frame(kind, flag, 1, piece) for kind, flag, piece in zip(kinds, flags, pieces, strict=True))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
