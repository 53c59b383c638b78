from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("event_id", "received_at_ms", "track", "identify", "caller_id", "crc")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    CALLER_ID_FIELD_NUMBER: _ClassVar[int]
    CRC_FIELD_NUMBER: _ClassVar[int]
    event_id: bytes
    received_at_ms: int
    track: bytes
    identify: bytes
    caller_id: str
    crc: int
    def __init__(self, event_id: _Optional[bytes] = ..., received_at_ms: _Optional[int] = ..., track: _Optional[bytes] = ..., identify: _Optional[bytes] = ..., caller_id: _Optional[str] = ..., crc: _Optional[int] = ...) -> None: ...

class RecordView(_message.Message):
    __slots__ = ("event_id", "received_at_ms", "track", "identify")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    event_id: bytes
    received_at_ms: int
    track: TrackView
    identify: IdentifyView
    def __init__(self, event_id: _Optional[bytes] = ..., received_at_ms: _Optional[int] = ..., track: _Optional[_Union[TrackView, _Mapping]] = ..., identify: _Optional[_Union[IdentifyView, _Mapping]] = ...) -> None: ...

class TrackView(_message.Message):
    __slots__ = ("event_name", "user_id", "properties", "timestamp", "anonymous_id", "timestamp_ms")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    event_name: str
    user_id: str
    properties: _containers.ScalarMap[str, bytes]
    timestamp: int
    anonymous_id: str
    timestamp_ms: int
    def __init__(self, event_name: _Optional[str] = ..., user_id: _Optional[str] = ..., properties: _Optional[_Mapping[str, bytes]] = ..., timestamp: _Optional[int] = ..., anonymous_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...

class IdentifyView(_message.Message):
    __slots__ = ("user_id", "properties", "timestamp", "anonymous_id", "timestamp_ms")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    properties: _containers.ScalarMap[str, bytes]
    timestamp: int
    anonymous_id: str
    timestamp_ms: int
    def __init__(self, user_id: _Optional[str] = ..., properties: _Optional[_Mapping[str, bytes]] = ..., timestamp: _Optional[int] = ..., anonymous_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...
