"""Which kinds of provider exist: the built-in ones, and those that installed packages add.

A package adds a kind with an entry point in the group ``spoold.providers``. It names a callable that takes
``endpoint`` (a base URL or None) and ``api_key`` by keyword and returns a ``Provider``. Nothing of it is imported
until its kind is used.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from spoold.errors import ConfigError
from spoold.providers.base import Provider
from spoold.providers.mixpanel import Mixpanel

ENTRY_POINT_GROUP = "spoold.providers"

_BUILT_IN: Mapping[str, Callable[..., Provider]] = {"mixpanel": Mixpanel}


def known_kinds() -> tuple[str, ...]:
    """The names that ``kind`` may have, sorted. Imports nothing."""
    added = entry_points(group=ENTRY_POINT_GROUP)
    return tuple(sorted(_BUILT_IN.keys() | added.names))


def build_provider(kind: str, *, endpoint: str | None, api_key: str) -> Provider:
    """The provider of ``kind``.

    Raises:
        ConfigError: No such kind, a bad endpoint, or the package that adds the kind is broken.
    """
    factory = _BUILT_IN.get(kind)
    if factory is not None:
        return factory(endpoint=endpoint, api_key=api_key)
    return _build_added(kind, endpoint=endpoint, api_key=api_key)


def _build_added(kind: str, *, endpoint: str | None, api_key: str) -> Provider:
    added = tuple(entry_points(group=ENTRY_POINT_GROUP, name=kind))
    if not added:
        raise ConfigError(f"kind: {kind!r} is not one of {', '.join(known_kinds())}", key="kind")
    if len(added) > 1:
        raise ConfigError(
            f"kind: {kind!r} is added by {' and '.join(sorted(map(_origin, added)))}; remove one", key="kind"
        )
    try:
        provider: Provider = added[0].load()(endpoint=endpoint, api_key=api_key)
    except ConfigError:
        raise
    except Exception as exc:
        # Foreign code: it may raise anything, and the operator needs to know whose it is. Not the message: it may
        # quote the key.
        raise ConfigError(
            f"kind: {kind!r} comes from {_origin(added[0])}, which can't be used: {type(exc).__name__} in"
            f" {added[0].value}",
            key="kind",
        ) from exc
    return provider


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"the package {distribution.name} {distribution.version}" if distribution else entry_point.value
