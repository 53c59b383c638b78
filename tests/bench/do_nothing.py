"""A grpcio asyncio server on uvloop whose one handler does nothing: what any gRPC service in Python costs."""

import asyncio

import grpc
import uvloop

_REPLY = b"\x08\x01\x12\x24" + b"0" * 36


async def serve() -> None:
    """Listen on a free port, print it, and answer until killed."""

    async def handle(_request: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return _REPLY

    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    methods = {"TrackEvent": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("analytics.v1.AnalyticsService", methods),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
