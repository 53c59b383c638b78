from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusReply(_message.Message):
    __slots__ = ("daemon", "spool", "lanes")
    DAEMON_FIELD_NUMBER: _ClassVar[int]
    SPOOL_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    daemon: DaemonStatus
    spool: SpoolStatus
    lanes: _containers.RepeatedCompositeFieldContainer[LaneStatus]
    def __init__(self, daemon: _Optional[_Union[DaemonStatus, _Mapping]] = ..., spool: _Optional[_Union[SpoolStatus, _Mapping]] = ..., lanes: _Optional[_Iterable[_Union[LaneStatus, _Mapping]]] = ...) -> None: ...

class DaemonStatus(_message.Message):
    __slots__ = ("state", "version", "pid", "uptime_seconds", "address", "test_mode")
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TEST_MODE_FIELD_NUMBER: _ClassVar[int]
    state: str
    version: str
    pid: int
    uptime_seconds: float
    address: str
    test_mode: bool
    def __init__(self, state: _Optional[str] = ..., version: _Optional[str] = ..., pid: _Optional[int] = ..., uptime_seconds: _Optional[float] = ..., address: _Optional[str] = ..., test_mode: _Optional[bool] = ...) -> None: ...

class SpoolStatus(_message.Message):
    __slots__ = ("accepted", "pending", "retained", "bytes", "max_bytes", "oldest_pending_seconds", "duplicates", "disk_free_bytes", "wal_bytes", "dead_bytes", "damaged", "refusing", "imbalances", "salvages")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    RETAINED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_PENDING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    REFUSING_FIELD_NUMBER: _ClassVar[int]
    IMBALANCES_FIELD_NUMBER: _ClassVar[int]
    SALVAGES_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    pending: int
    retained: int
    bytes: int
    max_bytes: int
    oldest_pending_seconds: float
    duplicates: int
    disk_free_bytes: int
    wal_bytes: int
    dead_bytes: int
    damaged: int
    refusing: str
    imbalances: _containers.RepeatedCompositeFieldContainer[Imbalance]
    salvages: _containers.RepeatedCompositeFieldContainer[Salvage]
    def __init__(self, accepted: _Optional[int] = ..., pending: _Optional[int] = ..., retained: _Optional[int] = ..., bytes: _Optional[int] = ..., max_bytes: _Optional[int] = ..., oldest_pending_seconds: _Optional[float] = ..., duplicates: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., wal_bytes: _Optional[int] = ..., dead_bytes: _Optional[int] = ..., damaged: _Optional[int] = ..., refusing: _Optional[str] = ..., imbalances: _Optional[_Iterable[_Union[Imbalance, _Mapping]]] = ..., salvages: _Optional[_Iterable[_Union[Salvage, _Mapping]]] = ...) -> None: ...

class LaneStatus(_message.Message):
    __slots__ = ("name", "kind", "state", "accepted", "pending", "delivered", "dead", "filtered", "purged", "failures", "next_attempt_seconds", "last_error", "oldest_pending_seconds", "deferred")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    OLDEST_PENDING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    state: str
    accepted: int
    pending: int
    delivered: int
    dead: int
    filtered: int
    purged: int
    failures: int
    next_attempt_seconds: float
    last_error: str
    oldest_pending_seconds: float
    deferred: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., accepted: _Optional[int] = ..., pending: _Optional[int] = ..., delivered: _Optional[int] = ..., dead: _Optional[int] = ..., filtered: _Optional[int] = ..., purged: _Optional[int] = ..., failures: _Optional[int] = ..., next_attempt_seconds: _Optional[float] = ..., last_error: _Optional[str] = ..., oldest_pending_seconds: _Optional[float] = ..., deferred: _Optional[int] = ...) -> None: ...

class Imbalance(_message.Message):
    __slots__ = ("lane", "term", "counter", "counted", "place")
    LANE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    lane: str
    term: str
    counter: int
    counted: int
    place: str
    def __init__(self, lane: _Optional[str] = ..., term: _Optional[str] = ..., counter: _Optional[int] = ..., counted: _Optional[int] = ..., place: _Optional[str] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConfigReply(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[ConfigValue]
    def __init__(self, values: _Optional[_Iterable[_Union[ConfigValue, _Mapping]]] = ...) -> None: ...

class ConfigValue(_message.Message):
    __slots__ = ("key", "value", "source")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    source: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class GetStoryRequest(_message.Message):
    __slots__ = ("event_id",)
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    def __init__(self, event_id: _Optional[str] = ...) -> None: ...

class GetStoryReply(_message.Message):
    __slots__ = ("seq", "lanes")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    seq: int
    lanes: _containers.RepeatedCompositeFieldContainer[LaneFate]
    def __init__(self, seq: _Optional[int] = ..., lanes: _Optional[_Iterable[_Union[LaneFate, _Mapping]]] = ...) -> None: ...

class LaneFate(_message.Message):
    __slots__ = ("lane", "fate", "reason")
    LANE_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    lane: str
    fate: str
    reason: str
    def __init__(self, lane: _Optional[str] = ..., fate: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CommandLaneRequest(_message.Message):
    __slots__ = ("lane", "command")
    LANE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    lane: str
    command: str
    def __init__(self, lane: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...

class ListDeadRequest(_message.Message):
    __slots__ = ("lane", "event_id")
    LANE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    lane: str
    event_id: str
    def __init__(self, lane: _Optional[str] = ..., event_id: _Optional[str] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("lane", "seq", "event", "status", "reason", "attempts", "dead_at_ms")
    LANE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DEAD_AT_MS_FIELD_NUMBER: _ClassVar[int]
    lane: str
    seq: int
    event: str
    status: int
    reason: str
    attempts: int
    dead_at_ms: int
    def __init__(self, lane: _Optional[str] = ..., seq: _Optional[int] = ..., event: _Optional[str] = ..., status: _Optional[int] = ..., reason: _Optional[str] = ..., attempts: _Optional[int] = ..., dead_at_ms: _Optional[int] = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("lane", "is_dead", "since_ms", "until_ms", "event_ids", "event_names", "user_id")
    LANE_FIELD_NUMBER: _ClassVar[int]
    IS_DEAD_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_NAMES_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    lane: str
    is_dead: bool
    since_ms: int
    until_ms: int
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    event_names: _containers.RepeatedScalarFieldContainer[str]
    user_id: str
    def __init__(self, lane: _Optional[str] = ..., is_dead: _Optional[bool] = ..., since_ms: _Optional[int] = ..., until_ms: _Optional[int] = ..., event_ids: _Optional[_Iterable[str]] = ..., event_names: _Optional[_Iterable[str]] = ..., user_id: _Optional[str] = ...) -> None: ...

class EventCount(_message.Message):
    __slots__ = ("matched", "progress", "is_end")
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    matched: int
    progress: float
    is_end: bool
    def __init__(self, matched: _Optional[int] = ..., progress: _Optional[float] = ..., is_end: _Optional[bool] = ...) -> None: ...

class Replay(_message.Message):
    __slots__ = ("id", "selection", "state", "progress", "sent", "failed", "revived", "created_at_ms", "finished_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REVIVED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: int
    selection: Selection
    state: str
    progress: float
    sent: int
    failed: int
    revived: int
    created_at_ms: int
    finished_at_ms: int
    def __init__(self, id: _Optional[int] = ..., selection: _Optional[_Union[Selection, _Mapping]] = ..., state: _Optional[str] = ..., progress: _Optional[float] = ..., sent: _Optional[int] = ..., failed: _Optional[int] = ..., revived: _Optional[int] = ..., created_at_ms: _Optional[int] = ..., finished_at_ms: _Optional[int] = ...) -> None: ...

class ListReplaysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReplaysReply(_message.Message):
    __slots__ = ("replays",)
    REPLAYS_FIELD_NUMBER: _ClassVar[int]
    replays: _containers.RepeatedCompositeFieldContainer[Replay]
    def __init__(self, replays: _Optional[_Iterable[_Union[Replay, _Mapping]]] = ...) -> None: ...

class CancelReplayRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class AuditRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuditReply(_message.Message):
    __slots__ = ("progress", "is_end", "lanes", "imbalances")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    IMBALANCES_FIELD_NUMBER: _ClassVar[int]
    progress: float
    is_end: bool
    lanes: _containers.RepeatedCompositeFieldContainer[AuditedLane]
    imbalances: _containers.RepeatedCompositeFieldContainer[Imbalance]
    def __init__(self, progress: _Optional[float] = ..., is_end: _Optional[bool] = ..., lanes: _Optional[_Iterable[_Union[AuditedLane, _Mapping]]] = ..., imbalances: _Optional[_Iterable[_Union[Imbalance, _Mapping]]] = ...) -> None: ...

class AuditedLane(_message.Message):
    __slots__ = ("name", "accepted", "delivered", "dead", "filtered", "purged", "pending")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    FILTERED_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    name: str
    accepted: int
    delivered: int
    dead: int
    filtered: int
    purged: int
    pending: int
    def __init__(self, name: _Optional[str] = ..., accepted: _Optional[int] = ..., delivered: _Optional[int] = ..., dead: _Optional[int] = ..., filtered: _Optional[int] = ..., purged: _Optional[int] = ..., pending: _Optional[int] = ...) -> None: ...

class StartSalvageRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class Salvage(_message.Message):
    __slots__ = ("source", "reason", "found_at_ms", "bytes", "state", "progress", "recovered", "known", "settled", "dead", "damaged", "lost", "holes", "finished_at_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FOUND_AT_MS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    HOLES_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    source: str
    reason: str
    found_at_ms: int
    bytes: int
    state: str
    progress: float
    recovered: int
    known: int
    settled: int
    dead: int
    damaged: int
    lost: int
    holes: str
    finished_at_ms: int
    def __init__(self, source: _Optional[str] = ..., reason: _Optional[str] = ..., found_at_ms: _Optional[int] = ..., bytes: _Optional[int] = ..., state: _Optional[str] = ..., progress: _Optional[float] = ..., recovered: _Optional[int] = ..., known: _Optional[int] = ..., settled: _Optional[int] = ..., dead: _Optional[int] = ..., damaged: _Optional[int] = ..., lost: _Optional[int] = ..., holes: _Optional[str] = ..., finished_at_ms: _Optional[int] = ...) -> None: ...

class TallyRequest(_message.Message):
    __slots__ = ("since_ms", "until_ms")
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    since_ms: int
    until_ms: int
    def __init__(self, since_ms: _Optional[int] = ..., until_ms: _Optional[int] = ...) -> None: ...

class TallyReply(_message.Message):
    __slots__ = ("progress", "is_end", "groups", "hours")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IS_END_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    progress: float
    is_end: bool
    groups: _containers.RepeatedCompositeFieldContainer[TallyGroup]
    hours: _containers.RepeatedCompositeFieldContainer[DoorHour]
    def __init__(self, progress: _Optional[float] = ..., is_end: _Optional[bool] = ..., groups: _Optional[_Iterable[_Union[TallyGroup, _Mapping]]] = ..., hours: _Optional[_Iterable[_Union[DoorHour, _Mapping]]] = ...) -> None: ...

class TallyGroup(_message.Message):
    __slots__ = ("hour_ms", "type", "event_name", "accepted")
    HOUR_MS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    hour_ms: int
    type: str
    event_name: str
    accepted: int
    def __init__(self, hour_ms: _Optional[int] = ..., type: _Optional[str] = ..., event_name: _Optional[str] = ..., accepted: _Optional[int] = ...) -> None: ...

class DoorHour(_message.Message):
    __slots__ = ("hour_ms", "duplicates", "refused")
    HOUR_MS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    hour_ms: int
    duplicates: int
    refused: int
    def __init__(self, hour_ms: _Optional[int] = ..., duplicates: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...
