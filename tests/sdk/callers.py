"""How an application calls each official SDK to say what a ``Logical`` says, in the plainest way that its manual shows.

By itself, ``python -m tests.sdk.callers SDK URL`` reads a JSON array of events, sends each with the real SDK to the
server at URL, and writes a JSON array that says for each what the SDK complained of, empty for nothing. In a process of
its own, because the SDKs leave threads and connections behind.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mixpanel
from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify
from segment.analytics.client import Client as Segment

from tests.sdk.logical import Logical

CREDENTIAL = "0123456789abcdef0123456789abcdef"
#: Longest time for one run of ``send_with_sdk``.
_RUN_SECONDS = 30


def call_mixpanel(client: mixpanel.Mixpanel, event: Logical) -> None:
    """``import_data`` is what the SDK has for an event whose time is known; ``track`` sends it as now.

    The credential is the project's token in the legacy argument: what ``/import`` calls for is the same Basic header.
    """
    if event.kind == "identify":
        if event.values or not event.nulls:
            client.people_set(event.user_id, event.values)
        if event.nulls:
            client.people_unset(event.user_id, event.nulls)
        return
    properties = dict(event.properties)
    if event.event_id:
        properties = {"$insert_id": event.event_id, **properties}
    if event.anonymous_id:
        ids = {"$device_id": event.anonymous_id} | ({"$user_id": event.user_id} if event.user_id else {})
        properties = {**ids, **properties}
    if event.timestamp_ms:
        seconds = event.timestamp_ms / 1000
        client.import_data(None, event.user_id, event.name, seconds, properties, api_secret=CREDENTIAL)
    else:
        client.track(event.user_id, event.name, properties)


def call_amplitude(client: Amplitude, event: Logical) -> None:
    """The SDK takes no null as an operation: what is null is unset by name."""
    head: dict[str, Any] = {
        "user_id": event.user_id or None,
        "device_id": event.anonymous_id or None,
        "time": event.timestamp_ms or None,
        "insert_id": event.event_id or None,
    }
    if event.kind == "track":
        client.track(BaseEvent(event.name, event_properties=dict(event.properties), **head))
        return
    changes = Identify()
    for name, value in event.values.items():
        changes.set(name, value)
    for name in event.nulls:
        changes.unset(name)
    client.identify(changes, EventOptions(**head))


def call_segment(client: Segment, event: Logical) -> dict[str, Any]:
    """What the SDK made of it."""
    head: dict[str, Any] = {
        "user_id": event.user_id or None,
        "anonymous_id": event.anonymous_id or None,
        "message_id": event.event_id or None,
        "timestamp": _moment(event.timestamp_ms) if event.timestamp_ms else None,
    }
    if event.kind == "track":
        _is_queued, message = client.track(event=event.name, properties=dict(event.properties), **head)
    else:
        _is_queued, message = client.identify(traits=dict(event.properties), **head)
    return dict(message)


def send_with_sdk(sdk: str, url: str, events: Sequence[Logical]) -> list[str]:
    """Send ``events`` with the real SDK in a process of its own; what it complained of for each."""
    command = [sys.executable, "-m", "tests.sdk.callers", sdk, url]
    done = subprocess.run(
        command,
        input=json.dumps([asdict(event) for event in events]),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    complaints: list[str] = json.loads(done.stdout)
    return complaints


def _moment(moment_ms: int) -> datetime:
    # By whole seconds: a float of milliseconds is off by one now and then.
    return datetime.fromtimestamp(moment_ms // 1000, UTC).replace(microsecond=moment_ms % 1000 * 1000)


def _each(call: Callable[[Logical], object], events: Sequence[Logical]) -> list[str]:
    """Call, and gather what is raised, and what is logged as an error: Amplitude's SDK logs instead of raising."""
    complaints = []
    log = _Log()
    logging.getLogger().addHandler(log)
    for event in events:
        log.lines.clear()
        try:
            call(event)
        except Exception as exc:
            log.lines.append(f"{type(exc).__name__}: {exc}")
        complaints.append("; ".join(log.lines))
    return complaints


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _run_mixpanel(url: str, events: Sequence[Logical]) -> list[str]:
    consumer = mixpanel.Consumer(f"{url}/track", f"{url}/engage", f"{url}/import")
    client = mixpanel.Mixpanel(CREDENTIAL, consumer=consumer)
    return _each(lambda event: call_mixpanel(client, event), events)


def _run_amplitude(url: str, events: Sequence[Logical]) -> list[str]:
    # One batch of all: nothing is due before the flush at the end.
    client = Amplitude(CREDENTIAL, Config(server_url=f"{url}/2/httpapi", flush_interval_millis=60_000))
    complaints = _each(lambda event: call_amplitude(client, event), events)
    client.shutdown()
    return complaints


def _run_segment(url: str, events: Sequence[Logical]) -> list[str]:
    client = Segment(CREDENTIAL, host=url)
    complaints = _each(lambda event: call_segment(client, event), events)
    client.shutdown()
    return complaints


_RUNS = {"mixpanel": _run_mixpanel, "amplitude": _run_amplitude, "segment": _run_segment}


def main() -> None:
    sdk, url = sys.argv[1:]
    print(json.dumps(_RUNS[sdk](url, [Logical(**fields) for fields in json.load(sys.stdin)])), flush=True)
    # Everything is sent; a thread of an SDK may still wait for the next time to flush.
    os._exit(0)


if __name__ == "__main__":
    main()
