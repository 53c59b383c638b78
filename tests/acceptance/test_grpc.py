"""The standard services, with clients that know nothing of spoold."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.daemon_process import DaemonProcess
from tests.support.provider_server import ProviderServer

Settings = dict[str, str]

_SERVICE = "analytics.v1.AnalyticsService"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """To a daemon for all tests that only ask."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as running, grpc.insecure_channel(running.address) as opened:
        yield opened


def test_a_client_that_has_only_reflection_sends_an_event(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with (
        DaemonProcess(tmp_path, BATCH_SIZE="1", **settings) as daemon,
        grpc.insecure_channel(daemon.address) as own,
    ):
        found = ProtoReflectionDescriptorDatabase(own)
        method = DescriptorPool(found).FindServiceByName(_SERVICE).FindMethodByName("TrackEvent")
        request = GetMessageClass(method.input_type)(event_name="Order Paid", user_id="u-81")
        read_reply = GetMessageClass(method.output_type).FromString
        call = own.unary_unary(f"/{_SERVICE}/TrackEvent", type(request).SerializeToString, read_reply)
        reply = call(request, timeout=10)
        provider.wait_until(lambda: provider.event_count == 1)

    assert list(provider.events_by_insert_id) == [reply.event_id]


def test_reflection_names_what_there_is(channel: grpc.Channel) -> None:
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert services == {_SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@pytest.mark.parametrize("service", ["", _SERVICE])
def test_a_daemon_that_accepts_events_is_serving(channel: grpc.Channel, service: str) -> None:
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_the_health_of_a_service_that_is_not_here_is_not_found(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)

    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
