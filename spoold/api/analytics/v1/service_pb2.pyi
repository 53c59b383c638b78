from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PropertyValue(_message.Message):
    __slots__ = ("string_value", "number_value", "bool_value", "list_value", "map_value")
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIST_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAP_VALUE_FIELD_NUMBER: _ClassVar[int]
    string_value: str
    number_value: float
    bool_value: bool
    list_value: ListValue
    map_value: MapValue
    def __init__(self, string_value: _Optional[str] = ..., number_value: _Optional[float] = ..., bool_value: _Optional[bool] = ..., list_value: _Optional[_Union[ListValue, _Mapping]] = ..., map_value: _Optional[_Union[MapValue, _Mapping]] = ...) -> None: ...

class ListValue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[PropertyValue]
    def __init__(self, values: _Optional[_Iterable[_Union[PropertyValue, _Mapping]]] = ...) -> None: ...

class MapValue(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PropertyValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PropertyValue, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, PropertyValue]
    def __init__(self, fields: _Optional[_Mapping[str, PropertyValue]] = ...) -> None: ...

class TrackEventRequest(_message.Message):
    __slots__ = ("event_name", "user_id", "properties", "timestamp", "event_id", "anonymous_id", "timestamp_ms")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PropertyValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PropertyValue, _Mapping]] = ...) -> None: ...
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    event_name: str
    user_id: str
    properties: _containers.MessageMap[str, PropertyValue]
    timestamp: int
    event_id: str
    anonymous_id: str
    timestamp_ms: int
    def __init__(self, event_name: _Optional[str] = ..., user_id: _Optional[str] = ..., properties: _Optional[_Mapping[str, PropertyValue]] = ..., timestamp: _Optional[int] = ..., event_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...

class TrackEventResponse(_message.Message):
    __slots__ = ("success", "event_id")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    success: bool
    event_id: str
    def __init__(self, success: _Optional[bool] = ..., event_id: _Optional[str] = ...) -> None: ...

class IdentifyUserRequest(_message.Message):
    __slots__ = ("user_id", "properties", "timestamp", "event_id", "anonymous_id", "timestamp_ms")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PropertyValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PropertyValue, _Mapping]] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    properties: _containers.MessageMap[str, PropertyValue]
    timestamp: int
    event_id: str
    anonymous_id: str
    timestamp_ms: int
    def __init__(self, user_id: _Optional[str] = ..., properties: _Optional[_Mapping[str, PropertyValue]] = ..., timestamp: _Optional[int] = ..., event_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...

class IdentifyUserResponse(_message.Message):
    __slots__ = ("success", "event_id")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    success: bool
    event_id: str
    def __init__(self, success: _Optional[bool] = ..., event_id: _Optional[str] = ...) -> None: ...

class TrackBatchRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[BatchItem]
    def __init__(self, items: _Optional[_Iterable[_Union[BatchItem, _Mapping]]] = ...) -> None: ...

class BatchItem(_message.Message):
    __slots__ = ("track", "identify")
    TRACK_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    track: TrackEventRequest
    identify: IdentifyUserRequest
    def __init__(self, track: _Optional[_Union[TrackEventRequest, _Mapping]] = ..., identify: _Optional[_Union[IdentifyUserRequest, _Mapping]] = ...) -> None: ...

class TrackBatchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("success", "event_id", "error")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    success: bool
    event_id: str
    error: str
    def __init__(self, success: _Optional[bool] = ..., event_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class GetEventCountRequest(_message.Message):
    __slots__ = ("event_name", "start_time", "end_time", "group_by")
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    event_name: str
    start_time: int
    end_time: int
    group_by: str
    def __init__(self, event_name: _Optional[str] = ..., start_time: _Optional[int] = ..., end_time: _Optional[int] = ..., group_by: _Optional[str] = ...) -> None: ...

class GetEventCountResponse(_message.Message):
    __slots__ = ("counts",)
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[EventCount]
    def __init__(self, counts: _Optional[_Iterable[_Union[EventCount, _Mapping]]] = ...) -> None: ...

class EventCount(_message.Message):
    __slots__ = ("event_name", "timestamp", "count")
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    event_name: str
    timestamp: int
    count: int
    def __init__(self, event_name: _Optional[str] = ..., timestamp: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class GetUserCountRequest(_message.Message):
    __slots__ = ("start_time", "end_time")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    start_time: int
    end_time: int
    def __init__(self, start_time: _Optional[int] = ..., end_time: _Optional[int] = ...) -> None: ...

class GetUserCountResponse(_message.Message):
    __slots__ = ("unique_users",)
    UNIQUE_USERS_FIELD_NUMBER: _ClassVar[int]
    unique_users: int
    def __init__(self, unique_users: _Optional[int] = ...) -> None: ...

class HealthCheckRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthCheckResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...
