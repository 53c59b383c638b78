"""Two JSON values side by side, and what is known to differ between them.

A ``Difference`` has a name, a reason, and says for an event which places differ and what stands there. All that is
found must be foretold, and all that is foretold must be found: a new difference fails, and so does one that is gone.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.sdk.logical import Logical

#: Keys and indexes from the outside in.
Path = tuple[str | int, ...]
#: What the SDK has at a place, and what we have: JSON texts, so that 1, 1.0 and true are three values, or a ``Like``.
Found = dict[Path, tuple[object, object]]

#: The place is not there at all.
ABSENT = "(absent)"


@dataclass(frozen=True, eq=False)
class Like:
    """Equals every JSON text that the pattern matches whole: for what is another value in each run."""

    pattern: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    __hash__ = None  # type: ignore[assignment] # equal to many, so in no set


UUID4 = Like('"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}"')


@dataclass(frozen=True)
class Difference:
    """One way in which the SDK and we differ.

    Attributes:
        reason: Why, with its place in providers.md, the contract or the RFC that it comes from.
        foretell: The places that differ for this event; empty where it makes no difference.
    """

    reason: str
    foretell: Callable[[Logical], Found]


def text(value: object) -> str:
    """A JSON value as the text that ``diff`` and ``foretell`` compare."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def diff(sdk: object, ours: object, path: Path = ()) -> Found:
    """The places at which two JSON values differ, as deep as both have the same shape."""
    if isinstance(sdk, dict) and isinstance(ours, dict):
        found: Found = {}
        for key in sdk.keys() | ours.keys():
            if key not in ours:
                found[*path, key] = (text(sdk[key]), ABSENT)
            elif key not in sdk:
                found[*path, key] = (ABSENT, text(ours[key]))
            else:
                found |= diff(sdk[key], ours[key], (*path, key))
        return found
    if isinstance(sdk, list) and isinstance(ours, list) and len(sdk) == len(ours):
        return {
            place: sides
            for index, pair in enumerate(zip(sdk, ours, strict=True))
            for place, sides in diff(*pair, (*path, index)).items()
        }
    return {} if text(sdk) == text(ours) else {path: (text(sdk), text(ours))}


def check(differences: Mapping[str, Difference], event: Logical, sdk: object, ours: object) -> set[str]:
    """Fail unless ``sdk`` and ``ours`` differ exactly as foretold; the names of the differences that there are.

    Where two speak of one place, the later one knows better.
    """
    expected: Found = {}
    names = set()
    for name, difference in differences.items():
        places = difference.foretell(event)
        if places:
            expected |= places
            names.add(name)
    assert diff(sdk, ours) == expected
    return names


def check_envelopes(table: Sequence[tuple[str, object, object, str]], sdk: object, ours: object) -> None:
    """Fail unless the envelopes differ exactly at the places of ``table``: place, the SDK's side, ours, the reason."""
    assert diff(sdk, ours) == {(place,): (theirs, mine) for place, theirs, mine, _reason in table}


def differing(places: Found) -> Found:
    """Those of ``places`` at which the two sides are not the same after all."""
    return {place: sides for place, sides in places.items() if sides[0] != sides[1]}


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """All values inside ``value`` that are no dict and no list, with their places."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def numbers(properties: Mapping[str, object], path: Path) -> Found:
    """Numbers that are written otherwise.

    The contract carries doubles, as JSON readers do (RFC 8259, 6): an integer beyond 2^53 is the double next to it, and
    a double that is whole is written without its ``.0``.
    """
    found: Found = {}
    for place, value in leaves(dict(properties), path):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        number = float(value)
        ours: float = int(number) if number.is_integer() and abs(number) <= 2**53 else number
        if text(value) != text(ours):
            found[place] = (text(value), text(ours))
    return found
