"""What was brought over from damaged spools, as messages."""

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.salvaged import Salvage


def salvage_message(salvage: Salvage) -> admin_pb2.Salvage:
    """A salvage as ``spoolctl`` gets it."""
    fields = {name: value for name, value in salvage._asdict().items() if name not in ("position", "pieces")}
    return admin_pb2.Salvage(progress=salvage.progress, **fields)
