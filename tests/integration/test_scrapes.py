"""Scrapes are answered whoever else connects, and cost a bounded number of threads and descriptors."""

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from spoold.metrics import Metrics, MetricsServer

_CROWD = 100
_HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer(Metrics(), "127.0.0.1", 0) as server:
        yield server


def scrape(server: MetricsServer) -> str:
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=20) as page:
        text: str = page.read().decode()
    return text


def connect(server: MetricsServer, said: bytes = b"") -> socket.socket:
    host, _, port = server.address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.sendall(said)
    return client


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "said", [b"", b"G", _HEAD, _HEAD + b"\r\n"], ids=["nothing", "a letter", "half a request", "and do not read"]
)
def test_a_crowd_that_stays_keeps_no_scrape_out(server: MetricsServer, said: bytes) -> None:
    threads, open_before = threading.active_count(), descriptors()
    with ExitStack() as stack:
        for _ in range(_CROWD):
            stack.enter_context(connect(server, said))
            assert threading.active_count() <= threads + 16
        assert "spoold_events_accepted_total" in scrape(server)
        assert descriptors() <= open_before + _CROWD + 16


def test_endless_headers_are_cut_off(server: MetricsServer) -> None:
    with connect(server, _HEAD) as client, pytest.raises(ConnectionError):  # noqa: PT012 - until it is closed
        for _ in range(2_000):
            client.sendall(b"x: " + b"y" * 8_000 + b"\r\n")


def test_many_scrapes_at_once_are_all_answered(server: MetricsServer) -> None:
    pages: list[str] = []
    scrapers = [threading.Thread(target=lambda: pages.append(scrape(server))) for _ in range(64)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    assert len(pages) == 64


def test_its_end_waits_for_nobody() -> None:
    with ExitStack() as stack:
        with MetricsServer(Metrics(), "127.0.0.1", 0) as server:
            clients = [stack.enter_context(connect(server, _HEAD)) for _ in range(8)]
            scrape(server)
        assert all(client.recv(1) == b"" for client in clients)
