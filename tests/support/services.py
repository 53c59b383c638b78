"""A server for each kind of provider, and the configuration of a daemon that delivers to them."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub
from tests.support.provider_server import ProviderServer
from tests.support.webhook_rules import secret_of

KINDS = ("mixpanel", "amplitude", "segment", "webhook")

#: A write key has to look like one, and a secret to be one.
_TOKENS = {"segment": "w" * 32, "webhook": secret_of(b"acceptance-secret-of-32-bytes-!!")}
#: A webhook's endpoint is the whole URL.
_PATHS = {"webhook": "/hook"}

Services = dict[str, ProviderServer]


@contextmanager
def services(kinds: Iterable[str] = KINDS) -> Iterator[Services]:
    """A server for each of these kinds, by kind."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(ProviderServer(_TOKENS.get(kind, f"{kind}-token"))) for kind in kinds}


def lane(name: str, server: ProviderServer, kind: str = "", **keys: Any) -> str:
    """The table of a lane that delivers to ``server``; ``keys`` add to it, or replace what is there."""
    kind = kind or name
    given = {"kind": kind, "api_key": server.token, "endpoint": endpoint(kind, server), **keys}
    return table(f"providers.{name}", **given)


def endpoint(kind: str, server: ProviderServer, base_url: str = "") -> str:
    """Where a lane of this kind sends to."""
    return (base_url or server.url) + _PATHS.get(kind, "")


def lanes(servers: Services, **keys: Any) -> str:
    """A table for each server, with these keys in each."""
    return "".join(lane(kind, server, kind, **keys) for kind, server in servers.items())


def table(name: str, **keys: object) -> str:
    """A table as TOML; keys that are None are left out."""
    lines = [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])


def configured(home: Path, *tables: str) -> list[str]:
    """Arguments for a daemon with these tables, which flushes after a second and comes back soon."""
    config = home / "spoold.toml"
    retry = table("retry", initial_delay="20ms", max_delay="50ms")
    config.write_text("test_mode = false\n" + table("batch", interval="1s") + retry + "".join(tables))
    config.chmod(0o600)
    return ["--config", str(config)]


def start(home: Path, *tables: str, **environment: str) -> DaemonProcess:
    """A daemon that is configured so; use it as a context."""
    return DaemonProcess(home, *configured(home, *tables), TEST_MODE="", **environment)


def by_name(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lanes of a status."""
    return {found["name"]: found for found in status["lanes"]}


def wait_for_events(servers: Services, ids: Collection[str]) -> None:
    """Until each server has taken these events, and no others; what came again must not have changed."""
    for server in servers.values():
        server.wait_until(lambda server=server: server.event_count == len(ids))  # type: ignore[misc]
        assert server.events_by_insert_id.keys() == set(ids)
        assert not server.changed


def tracked(name: str = "Order Paid", user_id: str = "u-81", **fields: Any) -> service_pb2.BatchItem:
    """An event for ``send``."""
    request = service_pb2.TrackEventRequest(event_name=name, user_id=user_id, **fields)
    return service_pb2.BatchItem(track=request)


def identified(user_id: str = "u-81", **fields: Any) -> service_pb2.BatchItem:
    """A profile for ``send``."""
    request = service_pb2.IdentifyUserRequest(user_id=user_id, **fields)
    return service_pb2.BatchItem(identify=request)


def send(stub: Stub, items: Iterable[service_pb2.BatchItem]) -> list[str]:
    """Send all in one call; returns their ids."""
    results = stub.TrackBatch(service_pb2.TrackBatchRequest(items=items), timeout=20).results
    assert all(result.success for result in results), [result.error for result in results if result.error]
    return [result.event_id for result in results]


def values(**properties: object) -> dict[str, service_pb2.PropertyValue]:
    """Properties as they go through the door; None is null."""
    return {name: _value(value) for name, value in properties.items()}


def _value(value: object) -> service_pb2.PropertyValue:
    match value:
        case None:
            return service_pb2.PropertyValue()
        case bool():
            return service_pb2.PropertyValue(bool_value=value)
        case int() | float():
            return service_pb2.PropertyValue(number_value=value)
        case Mapping():
            fields = {name: _value(inner) for name, inner in value.items()}
            return service_pb2.PropertyValue(map_value=service_pb2.MapValue(fields=fields))
    return service_pb2.PropertyValue(string_value=str(value))


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
