from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

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
