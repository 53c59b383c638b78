"""The same events sent by an official SDK and by us, over real HTTP, side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spoold.providers.base import Encoded, Kind, ProviderSettings
from tests.sdk.callers import CREDENTIAL, send_with_sdk
from tests.sdk.logical import Logical, encoded, post
from tests.sdk.recorder import Recorded, Recorder


class Case(NamedTuple):
    """An event, and the names of all differences that there are."""

    event: Logical
    names: set[str]


@dataclass(frozen=True)
class Wire:
    """What came over the wire for one event.

    Attributes:
        sdk: The SDK's records; none where it refuses the event.
        complaint: What the SDK raised, or logged as an error.
        sdk_request: The request that carried the first of its records.
    """

    sdk: list[object]
    ours: list[object]
    complaint: str
    sdk_request: Recorded | None
    our_request: Recorded

    @property
    def is_refused(self) -> bool:
        """Whether the SDK sent nothing and said so."""
        return bool(self.complaint) and not self.sdk


def encode(kind: Kind, event: Logical) -> Encoded:
    """``event`` in the provider's JSON; fails where we refuse it."""
    made = encoded(kind.build(ProviderSettings("http://127.0.0.1:1", CREDENTIAL)), event)
    assert isinstance(made, Encoded), made
    return made


def exchange(
    sdk: str, kind: Kind, events: Mapping[str, Logical], records: Callable[[Recorded], list[object]]
) -> dict[str, Wire]:
    """Send every event twice: all with one run of the SDK, and one by one with our provider.

    Args:
        records: The events in a request.
    """
    with Recorder() as theirs, Recorder() as mine:
        complaints = send_with_sdk(sdk, theirs.url, list(events.values()))
        sent = ((record, request) for request in theirs.requests for record in records(request))
        provider = kind.build(ProviderSettings(mine.url, CREDENTIAL))
        wires = {}
        for (name, event), complaint in zip(events.items(), complaints, strict=True):
            made = encode(kind, event)
            post(provider, made.route, made.parts)
            count = 0 if complaint else len(made.parts)
            wires[name] = _wire(sent, count, complaint, mine.requests[-1], records)
        left = list(sent)
        assert not left, "the SDK sent more than was called for"
        return wires


def _wire(
    sent: Iterator[tuple[object, Recorded]],
    count: int,
    complaint: str,
    our_request: Recorded,
    records: Callable[[Recorded], list[object]],
) -> Wire:
    pairs = [next(sent) for _number in range(count)]
    sdk_request = pairs[0][1] if pairs else None
    return Wire([record for record, _request in pairs], records(our_request), complaint, sdk_request, our_request)
