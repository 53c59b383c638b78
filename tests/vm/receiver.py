"""A provider: a webhook's receiver that notes what it got. Runs inside the machine, on the standard library alone."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_HOME = Path("/var/lib/receiver")
_TAKEN = _HOME / "taken"
#: While this file is there it answers 503.
_OUT = _HOME / "out"


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_out = _OUT.exists()
        if not is_out:
            seal = "signed" if self.headers["webhook-signature"] else "unsigned"
            note = "".join(f"{event['event_id']} {seal}\n" for event in json.loads(body))
            with _TAKEN.open("a") as taken:
                taken.write(note)
                taken.flush()
                os.fsync(taken.fileno())
        self.send_response(503 if is_out else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8080), Receiver).serve_forever()
