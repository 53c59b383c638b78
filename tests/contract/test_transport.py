"""HttpTransport against servers that misbehave, on loopback (design 5, HTTP)."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from spoold import __version__
from spoold.clock import SystemClock
from spoold.errors import ConfigError
from spoold.providers.base import HttpRequest
from spoold.providers.http import MAX_REPLY_BYTES, HttpTransport, TransportError
from tests.support.provider_server import (
    Action,
    CloseAfterReading,
    CloseBeforeReading,
    Drip,
    Hang,
    ProviderServer,
    Raw,
    Reply,
)

SHORT_SECONDS = 0.25
#: Far beyond SHORT_SECONDS, far below what a test without a bound of its own would take.
PATIENCE_SECONDS = 5.0
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport(clock=SystemClock(), timeout_seconds=30)) as made:
        yield made


def request(base: str, path: str = "/import?token=hidden", body: bytes = b"[]") -> HttpRequest:
    return HttpRequest(base + path, {"Authorization": "Basic hidden", "X-Secret": "hidden"}, body)


def failure(
    transport: HttpTransport, base: str, timeout_seconds: float | None = None, body: bytes = b""
) -> TransportError:
    """The error that posting to ``base`` ends with, which keeps its mouth shut about secrets."""
    with pytest.raises(TransportError) as caught:
        transport.post(request(base, body=body), timeout_seconds)
    assert "hidden" not in caught.value.reason
    assert caught.value.__cause__ is None  # a traceback would print the libraries' messages, URL included
    assert caught.value.__suppress_context__
    return caught.value


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_reply_comes_back_with_status_body_and_wait(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Reply(418, b"tea", {"Retry-After": "3"}))
    reply = transport.post(request(server.url))
    assert (reply.status, reply.body, reply.retry_after_seconds) == (418, b"tea", 3.0)


def test_only_the_given_headers_and_our_own_are_sent(server: ProviderServer, transport: HttpTransport) -> None:
    transport.post(request(server.url, body=b"[1]"))
    (got,) = server.requests
    assert got.body == b"[1]"
    assert got.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"spoold/{__version__}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-length": "3",
        "authorization": "Basic hidden",
        "x-secret": "hidden",
    }


def test_a_connection_is_kept_for_the_next_request(server: ProviderServer, transport: HttpTransport) -> None:
    for _ in range(5):
        transport.post(request(server.url))
    assert server.connection_count == 1


def test_posts_of_many_threads_do_not_mix(server: ProviderServer, transport: HttpTransport) -> None:
    bases = [f"{server.url}/{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda base: transport.post(request(base)).status, bases))
    assert statuses == [404] * 40
    assert {got.path for got in server.requests} == {f"/{number}/import" for number in range(40)}
    assert server.connection_count <= 8


def test_a_kept_connection_that_the_server_closed_is_replaced(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Raw(OK_HEAD + b"Content-Length: 2\r\n\r\nok"), Reply(200, b"ok"))
    assert transport.post(request(server.url)).body == b"ok"
    # The server's FIN is on its way; wait for it, so that the next request surely meets a closed connection.
    server.wait_until(lambda: server.open_count == 0)
    assert transport.post(request(server.url)).body == b"ok"


def test_a_redirect_is_a_reply_and_never_followed(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Reply(307, b"moved", {"Location": f"{server.url}/other"}))
    assert transport.post(request(server.url)).status == 307
    assert server.request_count == 1


def test_a_redirect_to_nonsense_with_an_endless_body_is_just_a_reply(
    server: ProviderServer, transport: HttpTransport
) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://[nonsense\r\n\r\n"
    server.script(Drip(head, b"x" * 262_144, pause_seconds=0.0))
    reply = transport.post(request(server.url))
    assert (reply.status, len(reply.body)) == (302, MAX_REPLY_BYTES)


def test_a_cookie_is_not_sent_back(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Reply(200, b"", {"Set-Cookie": "session=1; Path=/"}))
    transport.post(request(server.url))
    transport.post(request(server.url))
    assert "cookie" not in server.requests[1].headers


def test_a_netrc_never_overrides_the_key(
    server: ProviderServer, transport: HttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login intruder password intruder\n")
    monkeypatch.setenv("NETRC", str(netrc))
    transport.post(HttpRequest(server.url, {}, b""))
    transport.post(request(server.url))
    assert [got.headers.get("authorization") for got in server.requests] == [None, "Basic hidden"]


def test_proxies_of_the_environment_are_ignored(
    server: ProviderServer, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    assert transport.post(request(server.url)).status == 401


def test_a_configured_proxy_gets_the_request(server: ProviderServer) -> None:
    with closing(HttpTransport(clock=SystemClock(), proxy=f"http://user:pw@127.0.0.1:{server.port}")) as transport:
        transport.post(request("http://mixpanel.invalid"))
    assert server.requests[0].target == "http://mixpanel.invalid/import?token=hidden"
    assert "proxy-authorization" in server.requests[0].headers


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_a_proxy_that_is_down_is_named_without_its_login(scheme: str, port: int) -> None:
    proxy = f"127.0.0.1:{unused_port()}"
    with closing(HttpTransport(clock=SystemClock(), proxy=f"http://user:hidden@{proxy}")) as transport:
        error = failure(transport, f"{scheme}://mixpanel.invalid")
    assert (error.reason, error.was_sent) == (f"connection refused by mixpanel.invalid:{port} (proxy {proxy})", False)


def test_a_proxy_that_refuses_the_tunnel_got_no_request(server: ProviderServer) -> None:
    server.always(Reply(407, b""))
    with closing(HttpTransport(clock=SystemClock(), proxy=server.url)) as transport:
        error = failure(transport, "https://mixpanel.invalid")
    assert error.reason.endswith(": tunnel connection failed: 407 status")
    assert not error.was_sent


def test_a_refused_connection_was_surely_not_sent(transport: HttpTransport) -> None:
    port = unused_port()
    error = failure(transport, f"http://127.0.0.1:{port}")
    assert (error.reason, error.was_sent) == (f"connection refused by 127.0.0.1:{port}", False)


def test_an_unknown_name_was_surely_not_sent(transport: HttpTransport) -> None:
    error = failure(transport, "http://spoold-test.invalid:8080")
    assert error.reason.startswith("cannot resolve the name of spoold-test.invalid:8080: ")
    assert not error.was_sent


@pytest.mark.parametrize(
    "base", ["nonsense", "http://", "http://[::1", "ftp://127.0.0.1", "http://a..b", "http://h:99999"]
)
def test_an_unusable_url_is_an_error_of_the_same_kind(transport: HttpTransport, base: str) -> None:
    assert not failure(transport, base).was_sent


def test_a_header_that_can_not_be_sent_is_not_quoted(transport: HttpTransport) -> None:
    with pytest.raises(TransportError, match="InvalidHeader") as caught:
        transport.post(HttpRequest("http://127.0.0.1:1", {"X": "hidden\r\nY: 1"}, b""))
    assert "hidden" not in str(caught.value)


def test_a_host_that_swallows_packets_ends_at_the_time_to_connect(transport: HttpTransport) -> None:
    """A listener with a full queue answers no SYN, as a firewall that drops does."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        error = failure(transport, f"http://127.0.0.1:{port}", SHORT_SECONDS)
    assert (error.reason, error.was_sent) == (f"no connection to 127.0.0.1:{port} within {SHORT_SECONDS} s", False)


BROKEN: list[tuple[str, Action, str]] = [
    ("closed unread", CloseBeforeReading(), " broke the connection| closed the connection without a reply"),
    ("closed without a reply", CloseAfterReading(), " closed the connection without a reply"),
    ("short body", Reply(200, b"half", {"Content-Length": "100", "Connection": "close"}), " was cut off"),
    ("short chunk", Raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf"), " was cut off"),
    ("bad chunk", Raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhalf"), " was cut off| is not HTTP"),
    ("no last chunk", Raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), " was cut off| is not HTTP"),
    ("no HTTP", Raw(b"220 smtp.example ESMTP\r\n"), " is not HTTP"),
    ("bytes", Raw(bytes(range(256)) * 10), " is not HTTP"),
    ("a status that is no number", Raw(b"HTTP/1.1 abc OK\r\n\r\n"), " is not HTTP"),
    ("endless line", Raw(OK_HEAD + b"X: " + b"x" * 100_000), " is not HTTP"),
    ("endless headers", Raw(OK_HEAD + b"X: y\r\n" * 1_000), " is not HTTP"),
    ("half a head", Raw(b"HTTP/1.1 20"), " is not HTTP"),
    ("bad gzip", Reply(200, b"garbage", {"Content-Encoding": "gzip"}), " can't be decompressed"),
    ("two lengths", Raw(OK_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), ""),
]


@pytest.mark.parametrize(("action", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_reply_leaves_the_outcome_unknown(
    server: ProviderServer, transport: HttpTransport, action: Action, words: str
) -> None:
    server.script(action)
    error = failure(transport, server.url, PATIENCE_SECONDS, body=b"[" + b" " * 300_000 + b"]")
    assert error.was_sent
    assert f"127.0.0.1:{server.port}" in error.reason
    assert any(word in error.reason for word in words.split("|"))


@pytest.mark.parametrize("action", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_the_next_request_after_a_broken_reply_passes(
    server: ProviderServer, transport: HttpTransport, action: Action
) -> None:
    server.script(action, Reply(200, b"fine"))
    failure(transport, server.url, PATIENCE_SECONDS)
    assert transport.post(request(server.url)).body == b"fine"


DRIPS: dict[str, Callable[[], Action]] = {
    "silence": lambda: Hang(threading.Event()),
    "status line": lambda: Drip(b"HTTP/1.1 2"),
    "header": lambda: Drip(OK_HEAD + b"X-Slow: "),
    "headers": lambda: Drip(OK_HEAD, b"X: y\r\n", 0.02),
    "body": lambda: Drip(OK_HEAD + b"Content-Length: 1000000\r\n\r\n"),
    "body to the end": lambda: Drip(OK_HEAD + b"\r\n"),
    "chunks": lambda: Drip(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "100 Continue": lambda: Drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("make", list(DRIPS.values()), ids=list(DRIPS))
def test_a_reply_that_never_ends_ends_at_the_time_out(
    server: ProviderServer, transport: HttpTransport, make: Callable[[], Action]
) -> None:
    server.script(make())
    clock = SystemClock()
    started = clock.monotonic()
    error = failure(transport, server.url, SHORT_SECONDS)
    assert SHORT_SECONDS <= clock.monotonic() - started < PATIENCE_SECONDS
    assert error.was_sent
    assert error.reason == f"no complete reply from 127.0.0.1:{server.port} within {SHORT_SECONDS} s"


def test_a_server_that_reads_nothing_ends_at_the_time_out(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = failure(transport, base, SHORT_SECONDS, body=b"x" * 50_000_000)
    assert error.was_sent


def test_a_server_that_reads_by_the_spoonful_ends_at_the_time_out(transport: HttpTransport) -> None:
    def sip(listener: socket.socket, is_over: threading.Event) -> None:
        with listener.accept()[0] as peer:
            while not is_over.wait(0.01) and peer.recv(16_384):
                pass

    is_over = threading.Event()
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(sip, listener, is_over)
        started = clock.monotonic()
        error = failure(transport, f"http://127.0.0.1:{listener.getsockname()[1]}", SHORT_SECONDS, b"x" * 30_000_000)
        is_over.set()
    assert clock.monotonic() - started < PATIENCE_SECONDS
    assert error.was_sent


def test_no_time_left_sends_nothing(server: ProviderServer, transport: HttpTransport) -> None:
    assert not failure(transport, server.url, 0.0).was_sent
    assert server.connection_count == 0


def test_an_endless_body_is_read_to_a_mib(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Drip(OK_HEAD + b"\r\n", b"x" * 262_144, pause_seconds=0.0))
    assert len(transport.post(request(server.url)).body) == MAX_REPLY_BYTES


def test_a_compressed_bomb_is_read_to_a_mib(server: ProviderServer, transport: HttpTransport) -> None:
    server.script(Reply(200, gzip.compress(bytes(50 * MAX_REPLY_BYTES)), {"Content-Encoding": "gzip"}))
    assert transport.post(request(server.url)).body == bytes(MAX_REPLY_BYTES)


def test_a_reply_sent_before_the_body_was_read_is_still_understood(
    server: ProviderServer, transport: HttpTransport
) -> None:
    server.script(Reply(413, b"too large", {"Connection": "close"}))
    assert transport.post(request(server.url, body=b"x" * 1_000_000)).status == 413


@pytest.fixture
def hanging(server: ProviderServer, transport: HttpTransport) -> Iterator["Future[object]"]:
    """A post in another thread whose request has arrived and is not answered."""
    server.always(Hang(threading.Event()))
    with ThreadPoolExecutor() as pool:
        future: Future[object] = pool.submit(transport.post, request(server.url))
        server.wait_until(lambda: server.arrived_count == 1)
        yield future
        server.close()


def test_abort_ends_a_post_that_waits_for_its_reply(transport: HttpTransport, hanging: "Future[object]") -> None:
    transport.abort()
    error = hanging.exception(PATIENCE_SECONDS)
    assert isinstance(error, TransportError)
    assert (error.reason, error.was_sent) == ("given up because spoold is stopping", True)


def test_after_abort_nothing_is_sent(server: ProviderServer, transport: HttpTransport) -> None:
    transport.post(request(server.url))
    transport.abort()
    assert not failure(transport, server.url).was_sent
    assert server.request_count == 1


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://", "http://h:99999"])
def test_a_proxy_that_is_no_http_url_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigError, match="proxy"):
        HttpTransport(clock=SystemClock(), proxy=proxy)
