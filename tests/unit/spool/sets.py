"""A lane as a reader of the manual would picture it: sets of events."""

from dataclasses import dataclass, field


@dataclass
class ModelLane:
    """A lane as a reader of the manual would picture it: each event that it accepted is in one of the sets."""

    is_closed: bool = False
    wanted: set[int] = field(default_factory=set)
    fates: dict[str, set[int]] = field(
        default_factory=lambda: {fate: set() for fate in ("delivered", "filtered", "purged", "dead", "deferred")}
    )
    is_paused: bool = False
    accepts_dead: bool = False
    flushes: int = 0

    def put(self, seq: int, fate: str) -> None:
        """The event is here now and nowhere else."""
        self.wanted.discard(seq)
        for seqs in self.fates.values():
            seqs.discard(seq)
        self.fates[fate].add(seq)

    def fate(self, seq: int) -> str:
        """What the story of an event says of this lane."""
        if seq in self.wanted or seq in self.fates["deferred"]:
            return "pending"
        if seq in self.fates["dead"]:
            return "dead"
        return "settled" if any(seq in seqs for seqs in self.fates.values()) else "none"

    @property
    def terms(self) -> tuple[int, ...]:
        """As ``moves.terms`` gives them."""
        delivered, filtered, purged, dead, deferred = map(len, self.fates.values())
        return delivered, dead, filtered, purged, deferred, deferred + len(self.wanted)
