"""``spoolctl config``: the configuration in force."""

import json
from typing import Annotated

import typer

from spoolctl.client import Target
from spoolctl.render import config_view, console, print_json


def config(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a key, for scripts.")] = False,
) -> None:
    """The configuration in force, with where each value came from; secrets are hidden."""
    target: Target = context.obj
    with target.admin() as admin:
        values = list(admin.config().values)
    if not as_json:
        console.print(config_view(values))
        return
    for value in values:
        print_json({"key": value.key, "value": json.loads(value.value), "source": value.source})
