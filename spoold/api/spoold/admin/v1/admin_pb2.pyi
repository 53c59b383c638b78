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
    __slots__ = ("accepted", "pending", "retained", "bytes", "max_bytes", "oldest_pending_seconds", "duplicates", "disk_free_bytes", "wal_bytes", "dead_bytes", "damaged", "refusing")
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
    def __init__(self, accepted: _Optional[int] = ..., pending: _Optional[int] = ..., retained: _Optional[int] = ..., bytes: _Optional[int] = ..., max_bytes: _Optional[int] = ..., oldest_pending_seconds: _Optional[float] = ..., duplicates: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., wal_bytes: _Optional[int] = ..., dead_bytes: _Optional[int] = ..., damaged: _Optional[int] = ..., refusing: _Optional[str] = ...) -> None: ...

class LaneStatus(_message.Message):
    __slots__ = ("name", "kind", "state", "accepted", "pending", "delivered", "dead", "filtered", "purged", "failures", "next_attempt_seconds", "last_error", "oldest_pending_seconds")
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
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., accepted: _Optional[int] = ..., pending: _Optional[int] = ..., delivered: _Optional[int] = ..., dead: _Optional[int] = ..., filtered: _Optional[int] = ..., purged: _Optional[int] = ..., failures: _Optional[int] = ..., next_attempt_seconds: _Optional[float] = ..., last_error: _Optional[str] = ..., oldest_pending_seconds: _Optional[float] = ...) -> None: ...

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
