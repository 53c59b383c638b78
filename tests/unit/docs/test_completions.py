"""What the Tab key does behind ``spoolctl``, in real shells on a real terminal."""

import os
import pty
import select
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from spoolctl.app import app

from tests.support.daemon_process import DaemonProcess

ROOT = Path(__file__).parents[3]
SHELLS = [
    "bash",
    *(
        pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
        for name in ("zsh", "fish")
    ),
]
#: How each shell is started without what the machine's owner likes, and finds the file.
STARTS = {
    "bash": (["bash", "--noprofile", "--norc", "-i"], "source {folder}/spoolctl.bash"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "fpath=({folder}/functions $fpath); autoload -Uz compinit && compinit -u -D",
    ),
    "fish": (["fish", "--no-config", "-i"], "source {folder}/spoolctl.fish"),
}
_WAIT_SECONDS = 20.0
#: To the line's start and end, in every shell.
_HOME_KEY, _END_KEY = "\x01", "\x05"
#: What is typed, and what it is after the Tab key; {socket} is the socket of a daemon with the lanes mixpanel and crm.
TYPED = [
    ("sta", "status"),
    ("lanes pau", "lanes pause"),
    ("replay --dr", "replay --dry-run"),
    ("doctor --drill-d", "doctor --drill-dir"),
    ("audit --by ho", "audit --by hour"),
    ("--socket {socket} lanes pause cr", "--socket {socket} lanes pause crm"),
    ("--socket={socket} lanes pause cr", "--socket={socket} lanes pause crm"),
    ("--socket {socket} replay --lane mi", "--socket {socket} replay --lane mixpanel"),
    ("salvage {folder}/damag", "salvage {folder}/damaged-spool"),
    # A value is no command: nothing is offered for it.
    ("replay --event lan", "replay --event lan"),
    ("replay --event lanes --unt", "replay --event lanes --until"),
]


class Terminal:
    """An interactive shell with the completions loaded, at which somebody types."""

    def __init__(self, shell: str, folder: Path) -> None:
        command, load = STARTS[shell]
        self._pipe = folder / "said"
        os.mkfifo(self._pipe)
        self._fd, child = pty.openpty()
        # No line is so long that it is broken.
        termios.tcsetwinsize(child, (50, 1000))
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            # A shell is interactive on a terminal of its own only.
            ["setsid", "--ctty", *command],
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
            cwd=folder,
        )
        os.close(child)
        self._shown = b""
        self._type(f"{load.format(folder=folder)}\r")

    def complete(self, typed: str) -> list[str]:
        """The words of the line after ``typed`` and the Tab key, as the shell would run it."""
        said = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._type(f"spoolctl {typed}\t{_HOME_KEY}printf '%s\\n' {_END_KEY} > {self._pipe}\r")
            return [word.rstrip("/") for word in self._read(said).decode().splitlines()[1:]]
        finally:
            os.close(said)

    def close(self) -> None:
        os.close(self._fd)
        self._process.kill()
        self._process.wait()
        self._pipe.unlink()

    def _type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def _read(self, said: int) -> bytes:
        """All that comes through the pipe; what the shell shows is read as well, or it would wait."""
        text = b""
        while True:
            ready, _, _ = select.select([said, self._fd], [], [], _WAIT_SECONDS)
            assert ready, f"nothing more is said: {self._shown[-2000:]!r}"
            if self._fd in ready:
                self._shown += os.read(self._fd, 65536)
            if said in ready:
                piece = os.read(said, 65536)
                text += piece
                if not piece:
                    return text


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Whom the shells ask for the lanes: mixpanel and crm."""
    home = tmp_path_factory.mktemp("daemon")
    config = home / "spoold.toml"
    config.write_text('[providers.mixpanel]\n[providers.crm]\nkind = "webhook"\nendpoint = "http://127.0.0.1:1"\n')
    with DaemonProcess(home, "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files, where the package would put them, and a damaged spool."""
    path = tmp_path_factory.mktemp("completions")
    subprocess.run([sys.executable, ROOT / "packaging" / "completions.py", path], check=True)
    (path / "functions").mkdir()
    shutil.copy(path / "spoolctl.zsh", path / "functions" / "_spoolctl")
    (path / "damaged-spool").mkdir()
    return path


@pytest.fixture
def terminal(request: pytest.FixtureRequest, folder: Path) -> Iterator[Terminal]:
    """The shell that the test names."""
    shell = Terminal(request.param, folder)
    yield shell
    shell.close()


@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_the_shell_completes_commands_options_and_values(
    terminal: Terminal, folder: Path, daemon: DaemonProcess
) -> None:
    def there(line: str) -> list[str]:
        return line.format(socket=daemon.admin_socket, folder=folder).split()

    found = {typed: terminal.complete(" ".join(there(typed))) for typed, _ in TYPED}

    assert found == {typed: there(completed) for typed, completed in TYPED}


def commands() -> Iterator[tuple[str, list[str]]]:
    """What may stand behind each group of commands."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    yield "", list(group.commands)
    for name, below in group.commands.items():
        if isinstance(below, typer.core.TyperGroup):
            yield f" {name}", list(below.commands)


@pytest.mark.parametrize(("before", "names"), list(commands()))
def test_bash_offers_each_command_that_there_is(folder: Path, before: str, names: list[str]) -> None:
    assert offered(folder, f"spoolctl{before} ") == names


def test_bash_offers_each_option_of_a_command(folder: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    options = [option for parameter in group.commands["replay"].params for option in parameter.opts]

    assert offered(folder, "spoolctl replay --") == ["--help", *options]


def offered(folder: Path, line: str) -> list[str]:
    """All that bash would offer behind ``line``."""
    words = line.split(" ")
    script = f"source {folder}/spoolctl.bash; COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}')"
    run = subprocess.run(
        ["bash", "-c", f'{script}; COMP_CWORD={len(words) - 1}; _spoolctl; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()
