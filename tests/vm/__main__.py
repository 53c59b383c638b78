"""``make vmtest``: the package on a real Debian with a real systemd, used and mistreated as on an operator's machine.

One line a check; exit code 1 when one failed, or when systemd can't be booted here.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tests.vm import (
    check_disk,
    check_doctor,
    check_install,
    check_instances,
    check_itself,
    check_keys,
    check_removal,
    check_sandbox,
    check_service,
    check_upgrade,
)
from tests.vm.machine import Machine, MachineError
from tests.vm.needs import HOME, build, check_host, debian, restamp
from tests.vm.site import Site

Check = Callable[[Site], None]
_STORY: Sequence[Check] = (
    *check_install.CHECKS,
    *check_doctor.CHECKS,
    *check_keys.CHECKS,
    *check_sandbox.CHECKS,
    *check_service.CHECKS,
    *check_disk.CHECKS,
    *check_instances.CHECKS,
    *check_upgrade.CHECKS,
    *check_removal.CHECKS,
    *check_itself.CHECKS,
)


def main() -> int:
    """Run the story from the first to the last check; each stands on those before it."""
    options = _options()
    # Everything is undone on the way out of the exception. A script's background job would not heed the first.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False)
    start = time.monotonic()
    try:
        check_host()
        with console.status("a bare Debian"):
            base = debian()
        with console.status("building the package"):
            older = options.deb or build()
            newer = options.newer_deb or restamp(older)
    except MachineError as exc:
        console.print(f"[bold red]can't be tried here:[/] {escape(str(exc))}")
        return 1
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=HOME) as home:
        machine = Machine(f"spoold-{os.getpid()}", base, Path(home) / "machine")
        failed, passed = _tell(Site(machine, older.resolve(), newer.resolve(), Path(home)), console)
    colour = "red" if failed else "green"
    console.print(f"[{colour}]{passed} passed, {failed} failed[/] in {time.monotonic() - start:.0f} s")
    return 1 if failed or not passed else 0


def _tell(site: Site, console: Console) -> tuple[int, int]:
    """Boot, go through the checks, undo; returns how many failed and how many passed."""
    failed = passed = 0
    try:
        with console.status("systemd boots"):
            site.machine.make()
            site.machine.boot()
        for check in _STORY:
            title = check.__name__.replace("_", " ")
            start = time.monotonic()
            with console.status(title):
                error = _run(check, site)
            took = f"[dim]{time.monotonic() - start:.1f} s[/]"
            console.print(f"[red]✘ {title}[/] {took}\n  {escape(error)}" if error else f"[green]✔[/] {title} {took}")
            failed, passed = (failed + 1, passed) if error else (failed, passed + 1)
            if error and not passed:
                # Without the package there is nothing to look at.
                break
    except MachineError as exc:
        console.print(f"[bold red]✘ the machine:[/] {escape(str(exc))}")
        failed += 1
    finally:
        # Who is impatient now would leave mounts behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        site.machine.remove()
    return failed, passed


def _run(check: Check, site: Site) -> str:
    try:
        check(site)
    except Exception as exc:
        return str(exc) or type(exc).__name__
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deb", type=Path, help="this package (default: build it)")
    parser.add_argument("--newer-deb", type=Path, help="the one to upgrade to (default: the same with another version)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
