"""What a provider has taken, for ``provider_server``: each event once, and the profiles after all updates."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.support.provider_wire import Json


class Refusal(NamedTuple):
    """Why a record fails, in the provider's words."""

    field: str
    message: str


#: Says why a record is refused, or None.
Rule = Callable[[Json], Refusal | None]


class Taken:
    """Attributes may be read from any thread; whoever writes holds the server's lock.

    Args:
        token: The credential that is taken: project token, API key or write key.
        keep: Keep the records. False for long loads: only the counts grow.
    """

    def __init__(self, token: str, *, keep: bool) -> None:
        self.token = token
        self.event_count = 0  # different events taken
        self.duplicate_count = 0  # events that came again
        self.changed: list[tuple[Json, Json]] = []  # same id, other content: breaks I3
        self.refuse: Rule | None = None  # asked about each record that the provider's own rules let pass
        self.keep = keep
        self.events: dict[str, Json] = {}
        self.profiles: dict[str, Json] = {}

    def refusal(self, record: Json) -> Refusal | None:
        """What the test's own rule says of ``record``."""
        return self.refuse(record) if self.refuse else None

    def take_event(self, event_id: str, record: Json) -> None:
        """Take one event; the second with the same id is a duplicate."""
        if not self.keep:
            self.event_count += 1
            return
        known = self.events.setdefault(event_id, record)
        if known is record:
            self.event_count += 1
            return
        self.duplicate_count += 1
        if known != record:
            self.changed.append((known, record))

    def update_profile(self, owner: str, values: Mapping[str, object], removed: list[str]) -> None:
        """Set and remove properties of ``owner``."""
        profile = self.profiles.setdefault(owner, {})
        profile.update(values)
        for name in removed:
            profile.pop(name, None)
