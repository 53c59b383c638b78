"""What a lane lets through, and what it changes on the way: the journal keeps the original."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from spoold.record import Event

#: What stands instead of a value that must not leave this machine.
REDACTED = "[redacted]"
#: What ``exclude`` calls a profile, which has no name of its own.
PROFILE = "$identify"

#: The segments of a path; each is compared with the whole name of a property.
_Path = tuple[re.Pattern[str], ...]


class EventFilter:
    """One lane's view of events. Pure, and safe from any thread.

    An event passes when ``include`` is empty or names it, and ``exclude`` does not. Patterns hold ``*`` and ``?``; any
    other character means itself, and capitals count. Both are about tracked events: a profile passes unless ``exclude``
    holds the very text ``$identify``, so that ``exclude = ["*"]`` keeps events back and profiles not.

    ``drop`` and ``redact`` name properties by their path, of events and of profiles. A segment may hold ``*``, which
    stands for any part of one name: ``*.ssn`` is one level down, ``ssn`` is at the top. A path goes through lists as if
    these weren't there, and a name with dots in it counts as the path that it spells. A value of null is not redacted:
    it tells nothing, and in a profile it removes what is there.

    ``add`` gives tracked events a property where they have none of that name once ``drop`` is done. Profiles get none:
    they say what a user is, not where an event came from.

    Args:
        add: Values are text, finite numbers or booleans.
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        drop: Sequence[str] = (),
        redact: Sequence[str] = (),
        add: Mapping[str, object] | None = None,
    ) -> None:
        self._include = _any_of(include) if include else None
        self._exclude = _any_of(exclude) if exclude else None
        self._keeps_profiles_back = PROFILE in exclude
        self._drop = tuple(map(_path, drop))
        self._redact = tuple(map(_path, redact))
        self._add = dict(add or {})
        self._is_idle = not (include or exclude or drop or redact or add)

    def apply(self, event: Event) -> Event | None:
        """What the lane sees of ``event``, keys sorted; None when it is kept back.

        ``event`` itself is not changed. It is the answer when there is nothing to change.
        """
        if self._is_idle:
            return event
        if not self._passes(event):
            return None
        properties = event.properties
        if self._drop or self._redact:
            properties = _cleaned(properties, self._drop, self._redact)
        if self._add and event.kind == "track":
            properties = dict(sorted({**self._add, **properties}.items()))
        return event if properties is event.properties else replace(event, properties=properties)

    def _passes(self, event: Event) -> bool:
        if event.kind == "identify":
            return not self._keeps_profiles_back
        if self._include is not None and self._include.fullmatch(event.event_name) is None:
            return False
        return self._exclude is None or self._exclude.fullmatch(event.event_name) is None


def _cleaned(properties: Mapping[str, object], drop: Sequence[_Path], redact: Sequence[_Path]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, value in properties.items():
        segments = name.split(".")
        to_drop, to_redact = _below(segments, drop), _below(segments, redact)
        if () in to_drop:
            continue
        if () in to_redact:
            kept[name] = value if value is None else REDACTED
        else:
            kept[name] = _cleaned_value(value, to_drop, to_redact) if to_drop or to_redact else value
    return kept


def _cleaned_value(value: object, drop: Sequence[_Path], redact: Sequence[_Path]) -> object:
    if isinstance(value, dict):
        return _cleaned(value, drop, redact)
    if isinstance(value, list):
        return [_cleaned_value(item, drop, redact) for item in value]
    return value


def _below(segments: Sequence[str], paths: Iterable[_Path]) -> list[_Path]:
    """What is left of each path that leads through ``segments``; nothing is left of one that ends there or before."""
    return [
        path[len(segments) :]
        for path in paths
        if all(part.fullmatch(segment) for part, segment in zip(path, segments, strict=False))
    ]


def _path(text: str) -> _Path:
    return tuple(re.compile(_regex(segment, {"*": ".*"}), re.DOTALL) for segment in text.split("."))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_regex(pattern, {"*": ".*", "?": "."}) for pattern in patterns), re.DOTALL)


def _regex(pattern: str, wildcards: Mapping[str, str]) -> str:
    return "".join(wildcards.get(character) or re.escape(character) for character in pattern)
