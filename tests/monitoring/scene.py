"""A real daemon with two lanes that something is wrong with when a test wants it, and what it exports."""

import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from spoold.api.analytics.v1 import service_pb2
from tests.monitoring.queries import Selector
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track, track_batch
from tests.support.provider_server import Reply
from tests.support.provider_taken import Refusal
from tests.support.services import Services, lane, services, start

_EVENT_ID = "0b7c3b2e-52f0-4a86-9a55-4a2f6f4e9f10"
#: Labels that Prometheus adds to each series.
_ADDED = frozenset({"job", "instance"})


class Scene:
    """The daemon and the providers that it delivers to.

    Attributes:
        url: Where its metrics are.
    """

    def __init__(self, daemon: DaemonProcess, stub: Stub, servers: Services) -> None:
        self._daemon = daemon
        self._stub = stub
        self._servers = servers
        self.url = f"http://{daemon.wait_for_log('metrics listening')['address']}/metrics"

    def go_well(self) -> None:
        """Events of each type, all of them delivered by both lanes."""
        track_batch(self._stub, 50)
        self._stub.IdentifyUser(service_pb2.IdentifyUserRequest(user_id="u-81"), timeout=10)
        for name in self._servers:
            self._daemon.wait_for_lane(name, "batch flushed successfully", pending=0)

    def go_wrong(self) -> None:
        """Mixpanel refuses an event, Segment is down, a caller repeats itself, and another sends what is no event."""
        self._servers["mixpanel"].refuse = lambda record: Refusal("event", "no") if record["event"] == "Bad" else None
        self._servers["segment"].always(Reply(503))
        track(self._stub, "Bad")
        track(self._stub, count=2, event_id=_EVENT_ID)
        with pytest.raises(grpc.RpcError):
            track(self._stub, "")
        self._daemon.wait_for_lane("mixpanel", "dead letter")
        # The lane says so before it is on disk; with the next failure it is.
        self._daemon.wait_for_lane("segment", "batch send failed, retrying", attempt=7)

    def scrape(self) -> str:
        """The page as it is now."""
        with urllib.request.urlopen(self.url, timeout=10) as page:
            text: str = page.read().decode()
        return text


@contextmanager
def scene(home: Path) -> Iterator[Scene]:
    """A daemon in ``home`` with the lanes mixpanel and segment."""
    with (
        services(["mixpanel", "segment"]) as servers,
        start(home, *(lane(name, server) for name, server in servers.items()), METRICS_ADDRESS="127.0.0.1:0") as daemon,
        front_door(daemon.address) as stub,
    ):
        yield Scene(daemon, stub, servers)


class Page(NamedTuple):
    """What was exported.

    Attributes:
        text: As it was served.
        families: Each metric's type, by the name that a ``# TYPE`` line has.
        labels: The values that each label of a series had, by the series' name.
    """

    text: str
    families: Mapping[str, str]
    labels: Mapping[str, Mapping[str, set[str]]]

    def family(self, series: str) -> str | None:
        """The metric that a series belongs to; None when it is not exported."""
        if self.families.get(series) in {"counter", "gauge"}:
            return series
        name = re.sub(r"_(bucket|sum|count)$", "", series)
        return name if name != series and self.families.get(name) == "histogram" else None

    def has(self, selector: Selector) -> bool:
        """Whether the series is there, with the labels that are asked for and each of their values."""
        labels = {label: values | {".*"} for label, values in self.labels.get(selector.series, {}).items()}
        return self.family(selector.series) is not None and all(
            label in _ADDED or value in labels.get(label, ()) for label, value in selector.matchers
        )


def read_page(text: str) -> Page:
    """Take a page apart."""
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    labels: dict[str, dict[str, set[str]]] = {}
    for name, matchers in re.findall(r"^(\w+)(?:\{(.*)\})? [^ ]+$", text, re.MULTILINE):
        values = labels.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            values.setdefault(label, set()).add(value)
    return Page(text, families, labels)
