"""HttpTransport over TLS, on loopback."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from spoold.clock import SystemClock
from spoold.errors import ConfigError
from spoold.providers.base import HttpReply, HttpRequest
from spoold.providers.http import HttpTransport, TransportError, _Adapter
from tests.support.provider_server import ProviderServer

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
REQUEST_BODY = b"x" * 300_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *name]
    subprocess.run([*command, "-keyout", made, "-out", folder / "cert.pem"], check=True, capture_output=True)
    made.write_text(made.read_text() + (folder / "cert.pem").read_text())
    return made


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """A TLS server that answers one request, then ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as sock:
            got = b""
            while not got.endswith(REQUEST_BODY):
                got += sock.recv(65_536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with listener, ThreadPoolExecutor(1) as pool:
        pool.submit(serve)
        yield int(listener.getsockname()[1])
        # Wakes an accept() that nobody came for.
        listener.shutdown(socket.SHUT_RDWR)


def post(port: int, ca_file: Path | None, timeout_seconds: float = 10.0) -> HttpReply:
    with closing(HttpTransport(clock=SystemClock(), ca_file=str(ca_file) if ca_file else None)) as transport:
        return transport.post(HttpRequest(f"https://127.0.0.1:{port}/", {}, REQUEST_BODY), timeout_seconds)


@needs_openssl
def test_a_server_with_a_certificate_of_ca_file_is_trusted(tls_port: int, certificate: Path) -> None:
    assert post(tls_port, certificate).body == b"ok"


@needs_openssl
def test_nobody_but_ca_file_is_trusted(tls_port: int, certificate: Path) -> None:
    """requests adds certifi's CAs to a context at the first request, unless it is kept from that."""
    with closing(HttpTransport(clock=SystemClock(), ca_file=str(certificate))) as transport:
        transport.post(HttpRequest(f"https://127.0.0.1:{tls_port}/", {}, REQUEST_BODY))
        adapter = transport._session.get_adapter("https://127.0.0.1")
        assert isinstance(adapter, _Adapter)
        assert adapter._context.cert_store_stats()["x509"] == 1


@needs_openssl
def test_a_server_with_a_strange_certificate_gets_nothing(tls_port: int) -> None:
    with pytest.raises(TransportError, match=f"TLS certificate of 127.0.0.1:{tls_port} refused: self.signed") as caught:
        post(tls_port, None)
    assert not caught.value.was_sent


def test_tls_to_a_plain_server_fails_before_anything_is_sent() -> None:
    with ProviderServer() as server, pytest.raises(TransportError, match=r"^TLS with 127\.0\.0\.1:") as caught:
        post(server.port, None)
    assert not caught.value.was_sent


def test_a_server_that_never_shakes_hands_ends_at_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TransportError) as caught:
        post(listener.getsockname()[1], None, timeout_seconds=0.15)
    assert caught.value.reason.startswith("no connection to 127.0.0.1:")
    assert not caught.value.was_sent


def test_abort_ends_a_handshake() -> None:
    with (
        closing(HttpTransport(clock=SystemClock())) as transport,
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        request = HttpRequest(f"https://127.0.0.1:{listener.getsockname()[1]}/", {}, b"")
        future = pool.submit(transport.post, request)
        with listener.accept()[0] as peer:
            peer.recv(1)  # the client's hello has come: it waits for ours
            transport.abort()
            error = future.exception(5.0)
    assert isinstance(error, TransportError)
    assert error.reason == "given up because spoold is stopping"


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("nonsense", "no certificate in PEM form")])
def test_a_ca_file_that_can_not_be_used_is_refused_by_name(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words) as caught:
        HttpTransport(clock=SystemClock(), ca_file=str(path))
    assert str(path) in str(caught.value)


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with ProviderServer() as server, closing(HttpTransport(clock=SystemClock())) as transport:
        transport.post(HttpRequest(server.url, {}, b""))
    assert threading.active_count() == before
