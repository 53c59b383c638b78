"""The program ``spoolctl``: global options, the commands, and how a failure is told."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer

from spoolctl.client import DEFAULT_TARGET, Target
from spoolctl.commands import dead, lanes, replays
from spoolctl.commands.audit import audit
from spoolctl.commands.config import config
from spoolctl.commands.doctor import doctor
from spoolctl.commands.replay import replay
from spoolctl.commands.salvage import salvage
from spoolctl.commands.send import identify, send
from spoolctl.commands.status import status
from spoolctl.failure import Exit, Failure
from spoolctl.render import errors
from spoold import __version__

app = typer.Typer(
    name="spoolctl",
    help="Look into spoold's spool, steer its lanes, send events again.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 daemon not reachable, 4 nothing matched, 5 refused.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(status)
app.command()(send)
app.command()(identify)
app.command()(config)
app.command()(audit)
app.command()(doctor)
app.command()(salvage)
app.command()(replay)
app.add_typer(lanes.app, name="lanes")
app.add_typer(dead.app, name="dead")
app.add_typer(replays.app, name="replays")


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - typer's signature
    if is_asked:
        typer.echo(f"spoolctl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    socket: Annotated[
        Path, typer.Option("--socket", envvar="SPOOLCTL_SOCKET", help="The daemon's admin socket.")
    ] = DEFAULT_TARGET.socket,
    spool: Annotated[
        # Not looked at before it is needed: whoever may not ask the daemon is told so, not of an option.
        Path,
        typer.Option("--spool", metavar="DIR", readable=False, help="The spool to read when the daemon is down."),
    ] = DEFAULT_TARGET.spool,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Look into spoold's spool, steer its lanes, send events again."""
    del version
    context.obj = Target(socket, spool)


def main() -> None:
    """Run with the process's arguments; failures are told on two lines, never as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What the terminal's encoding lacks is shown all the same.
            stream.reconfigure(errors="backslashreplace")
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed before we began.
        if stream is not None:
            _let_go(stream)
    sys.exit(code)


def _run() -> int:
    try:
        code = app(standalone_mode=False)
    except Failure as failure:
        _tell(failure.error, failure.advice)
        return failure.code
    except typer.TyperException as exc:
        # Without a word it was asked for nothing, and the help is on the screen already.
        if exc.format_message():
            context: typer.Context | None = getattr(exc, "ctx", None)
            _tell(exc.format_message(), f"{context.command_path if context else 'spoolctl'} --help")
        return exc.exit_code
    except UnicodeEncodeError as exc:
        # No message, socket or file of ours can have such a name, and what is shown is never refused (see main).
        _tell(f"{exc.object!a}: must be UTF-8 text", "spoolctl --help")
        return Exit.USAGE
    except (BrokenPipeError, KeyboardInterrupt):
        # Whoever read our output has seen enough.
        return Exit.FAILED
    except OSError as exc:
        _tell(f"the output can't be written: {exc.strerror}")
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.DONE


def _tell(error: str, advice: str = "") -> None:
    # Where errors can't be written either, the exit code says all.
    with suppress(OSError):
        for line in error.splitlines():
            errors.print(f"error: {line}", style="red")
        if advice:
            errors.print(f"try: {advice}")


def _let_go(stream: TextIO) -> None:
    """Have it written out. Where it can't be, drop what is left: Python would say so once more at its end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
