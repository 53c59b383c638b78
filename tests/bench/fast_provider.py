"""A provider that takes everything and looks at nothing, so that a lane runs at its full speed.

Its one argument is its latency: how many seconds after a request has come it answers; without it, at once.
"""

import asyncio
import re
import sys

import uvloop

#: Without a count: it would have to read the body to know it.
_BODY = b'{"code":200,"status":"OK"}'
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


async def serve(latency_seconds: float) -> None:
    """Listen on a free port, print it, and answer until killed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                assert length is not None
                await reader.readexactly(int(length[1]))
                await asyncio.sleep(latency_seconds)
                writer.write(_REPLY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
