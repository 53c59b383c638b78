"""spoold: a durable on-disk spool for analytics events."""

import os

# gRPC reads it when it is imported. Its own lines are no JSON, and each odd header is worth one to it: a client could
# fill the disk with them.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__ = "0.1.0"
