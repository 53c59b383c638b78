"""Which kinds of provider exist: the built-in ones, and those that installed packages add.

A package adds a kind with an entry point in the group ``spoold.providers`` that names a ``base.Kind``. Nothing of it
is imported until its kind is used.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from spoold.errors import ConfigError
from spoold.providers import amplitude, mixpanel, segment, webhook
from spoold.providers.base import Kind, Provider, ProviderSettings

ENTRY_POINT_GROUP = "spoold.providers"

_BUILT_IN: Mapping[str, Kind] = {
    "amplitude": amplitude.KIND,
    "mixpanel": mixpanel.KIND,
    "segment": segment.KIND,
    "webhook": webhook.KIND,
}


class Kinds(Mapping[str, Kind]):
    """The kinds by name, sorted. Only looking one up imports it.

    Looking up raises KeyError for a name that nobody knows, and ConfigError when the package that adds the kind can't
    be used.
    """

    def __getitem__(self, name: str) -> Kind:
        """The kind of that name."""
        kind = _BUILT_IN.get(name)
        return _load(name) if kind is None else kind

    def __iter__(self) -> Iterator[str]:
        """The names, sorted."""
        return iter(sorted(_BUILT_IN.keys() | entry_points(group=ENTRY_POINT_GROUP).names))

    def __len__(self) -> int:
        """How many there are."""
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        """Whether the name is known; imports nothing."""
        return name in set(self)


def build_provider(name: str, kind: Kind, settings: ProviderSettings) -> Provider:
    """The provider of a lane, from the kind that its ``kind`` names.

    Raises:
        ConfigError: The settings can't work, or the code that somebody added is broken.
    """
    try:
        return kind.build(settings)
    except ConfigError:
        raise
    except Exception as exc:
        # Foreign code: it may raise anything. Not the message: it may quote the key.
        raise ConfigError(
            f"kind: {name!r} can't be built from these settings: {type(exc).__name__} in {kind.build!r}", key="kind"
        ) from exc


def _load(name: str) -> Kind:
    added = tuple(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not added:
        raise KeyError(name)
    if len(added) > 1:
        raise ConfigError(
            f"kind: {name!r} is added by {' and '.join(sorted(map(_origin, added)))}; remove one", key="kind"
        )
    try:
        kind = added[0].load()
    except Exception as exc:
        # Foreign code again; the operator needs to know whose it is.
        raise ConfigError(
            f"kind: {name!r} comes from {_origin(added[0])}, which can't be used: {type(exc).__name__} in"
            f" {added[0].value}",
            key="kind",
        ) from exc
    if not isinstance(kind, Kind):
        raise ConfigError(
            f"kind: {name!r} comes from {_origin(added[0])}, which can't be used: {added[0].value} is no"
            " spoold.providers.base.Kind",
            key="kind",
        )
    return kind


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"the package {distribution.name} {distribution.version}" if distribution else entry_point.value
