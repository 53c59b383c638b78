"""Command lines of any kind: never a traceback, always a documented exit code, never a secret.

``spoolctl`` is run as a process of its own, with odd arguments, against daemons and spools that are there, are not
there, or are something else, and with standard streams that are closed, full or shut in the midst. ``spoold`` likewise.
"""

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import typer.main
from spoolctl.app import app
from spoolctl.failure import Exit

from spoold.main import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from tests.abuse.drawing import changed, text
from tests.support.daemon_process import DaemonProcess

_CALLS, _AT_ONCE = 60, 2
_SECONDS = 60
_SECRET = "a-key-that-nobody-may-see"
#: What would never end by itself, or takes minutes.
_ENDLESS = {"--watch", "--drill"}
_CODES = {"spoolctl": {int(code) for code in Exit}, "spoold": {EXIT_OK, EXIT_FAILED, EXIT_CONFIG}}
_BAD_WORDS = (b"Traceback", b"Exception", b"object at 0x", _SECRET.encode())
_ODD = [
    b"", b" ", b"-", b"--", b"-1", b"0", b"1e400", b"nan", b"9" * 400, b"99999999999999999999",
    b"\xff\xfe", b"\xed\xa0\x80",     "\u202e\U0001f600\ufeff".encode(), b"\x1b[2J", b"a\nb",
    b"mixpanel", b"none", b"2h", b"-5m", b"1e9999h", b"x" * 5_000,
    b"1970-01-01", b"0000-00-00", b"9999-12-31T23:59:59+14:00", b"0001-01-01", b"1700000000", b"1700000000000",
    b"k=v", b"=", b"k=", b"k=1e999", b"k={", b"127.0.0.1:1", b":", b"[::1", b"nowhere.invalid:1", b"127.0.0.1:99999999",
    b"hour", b"00000000-0000-0000-0000-000000000000", b"0190b6f2-7c1d-7abc-8def-0123456789ab",
]  # fmt: skip
_ENVIRONMENTS: list[dict[str, str]] = [
    {}, {"COLUMNS": "1"}, {"COLUMNS": "0"}, {"COLUMNS": "-7"}, {"COLUMNS": "x", "LINES": ""}, {"COLUMNS": "99999"},
    {"TERM": "dumb"}, {"TERM": "x", "FORCE_COLOR": "1"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"}, {"TZ": "Nowhere/Never"}, {"TZ": "UTC+99"}, {"HOME": "/nowhere"},
    {"SPOOLCTL_SOCKET": ""}, {"SPOOLCTL_SOCKET": "/\udcff"},
]  # fmt: skip
_STREAMS = [
    "", "", "", "0<&-", "1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "1>/dev/full", "2>/dev/full", "| head -c 1",
]  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What there is on the machine.

    Attributes:
        sockets: Of a daemon, and of things that are none.
        folders: Spools, and things that are none.
        address: A daemon's front door.
    """

    sockets: list[bytes]
    folders: list[bytes]
    address: bytes


def run_round(seed: int) -> dict[str, int]:
    """Some dozens of command lines.

    Raises:
        AssertionError: One ended otherwise than documented.
    """
    rng = random.Random(seed)
    with TemporaryDirectory(prefix="spoold-operators-") as home:
        try:
            return call_all(rng, _CALLS, Path(home))
        except AssertionError as exc:
            raise AssertionError(f"tests.abuse.operators.run_round({seed}): {exc}") from exc


def call_all(rng: random.Random, count: int, home: Path) -> dict[str, int]:
    """So many command lines; how many ended well, and how many otherwise."""
    with machine(rng, home) as scene, ThreadPoolExecutor(_AT_ONCE) as pool:
        drawn = [(_spoold if rng.random() < 0.2 else _spoolctl)(rng, scene) for _ in range(count)]
        calls = [(line, rng.choice(_ENVIRONMENTS), _streams(rng, line)) for line in drawn]
        codes = list(pool.map(lambda call: check(*call, home=home), calls))
    return {"inputs": count, "accepted": codes.count(0), "refused": count - codes.count(0)}


def _streams(rng: random.Random, words: list[bytes]) -> str:
    # Python's own code of an end without a place for errors: nobody starts a daemon so.
    return rng.choice([streams for streams in _STREAMS if words[0] == b"spoolctl" or streams != "2>/dev/full"])


@contextmanager
def machine(rng: random.Random, home: Path) -> Iterator[Scene]:
    """A daemon that runs, a spool at rest, and rubbish."""
    with ExitStack() as stack:
        with DaemonProcess(home / "rest"):
            pass
        daemon = stack.enter_context(DaemonProcess(home / "live", MIXPANEL_API_KEY=_SECRET))
        rubbish = home / "rubbish"
        rubbish.mkdir()
        (rubbish / "spool.db").write_bytes(rng.randbytes(5_000))
        (home / "empty").mkdir()
        config = home / "spoold.toml"
        config.write_text(f'[providers.mixpanel]\napi_key = "{_SECRET}"\n')
        config.chmod(0o600)
        sockets = [daemon.admin_socket, home, config, home / "nowhere.sock", rubbish / ("x" * 200)]
        sockets += [stack.enter_context(_server(home / f"{name}.sock", said)) for name, said in _ANSWERS.items()]
        folders = [home / "rest" / "spool" / "test", home / "live" / "spool" / "test", rubbish, home / "empty", config]
        yield Scene(_encoded(sockets), _encoded([*folders, home / "nowhere"]), daemon.address.encode())


def _encoded(paths: Iterable[Path]) -> list[bytes]:
    return [os.fsencode(path) for path in paths]


#: What something that is no daemon says on its socket.
_ANSWERS = {"hangs": b"", "http": b"HTTP/1.1 200 OK\r\n\r\n", "rubbish": bytes(range(256)) * 40}


@contextmanager
def _server(path: Path, said: bytes) -> Iterator[Path]:
    """Says so to whoever comes, and then nothing; one that has nothing to say keeps its callers waiting."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as held:
        listener.bind(str(path))
        listener.listen(100)

        def serve() -> None:
            while True:
                try:
                    client = held.enter_context(listener.accept()[0])
                    client.sendall(said)
                    if said:
                        client.shutdown(socket.SHUT_WR)
                except BrokenPipeError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


def _spoolctl(rng: random.Random, scene: Scene) -> list[bytes]:
    words: list[bytes] = [b"spoolctl"]
    if rng.random() < 0.9:
        # Who waits for one that hangs waits for ten seconds.
        live = scene.sockets[0]
        words += [b"--socket", live if rng.random() < 0.7 else rng.choice([*scene.sockets, *_ODD])]
    if rng.random() < 0.7:
        words += [b"--spool", rng.choice([*scene.folders, *_ODD])]
    name, parameters = rng.choice(_commands())
    words += name
    for options, is_flag in parameters:
        if options.startswith("-") and (options in _ENDLESS or rng.random() < 0.6):
            continue
        if options.startswith("-"):
            words.append(options.encode())
        if not is_flag and rng.random() < 0.95:
            words.append(_word(rng, options, scene))
    if rng.random() < 0.1:
        words.insert(rng.randrange(1, len(words) + 1), rng.choice(_ODD))
    return words


def _word(rng: random.Random, option: str, scene: Scene) -> bytes:
    if option in ("--count", "--timeout"):
        return rng.choice([b"0", b"-1", b"2", b"x", b"", b"1s", b"nan"])
    if option == "--address" and rng.random() < 0.5:
        return scene.address
    if option in ("folder", "--config", "--drill-dir"):
        return rng.choice([*scene.folders, *_ODD])
    if rng.random() < 0.2:
        return text(rng).replace("\x00", "").encode()
    return rng.choice(_ODD)


def _commands() -> list[tuple[list[bytes], list[tuple[str, bool]]]]:
    """Each command, with its options and arguments, and which of them take no value."""
    found = []
    pending: list[tuple[list[bytes], object]] = [([], typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        inner: Mapping[str, object] = getattr(command, "commands", {})
        pending += [([*name, word.encode()], below) for word, below in inner.items()]
        if not inner:
            parameters = getattr(command, "params", [])
            found.append((name, [(each.opts[0], bool(getattr(each, "is_flag", False))) for each in parameters]))
    return sorted(found, key=lambda each: each[0])


def _spoold(rng: random.Random, scene: Scene) -> list[bytes]:
    words = [b"spoold", b"--check-config"]
    if rng.random() < 0.8:
        words += [b"--config", rng.choice([*scene.folders, *_ODD])]
    if rng.random() < 0.3:
        words.insert(rng.randrange(1, len(words) + 1), changed(rng, rng.choice([*_ODD, *words])).replace(b"\0", b""))
    return words


def check(words: list[bytes], environment: dict[str, str], streams: str, *, home: Path) -> int:
    """Run it, and look at how it ended."""
    program = words[0].decode()
    line = [str(Path(sys.executable).with_name(program)).encode(), *words[1:]]
    # The exit code is told by the shell through a file: a pipe's own would be head's.
    script = f'{{ "$@"; echo $? >&9; }} {streams}'
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told, ExitStack() as ends:
        ends.callback(os.close, writing)
        ran = subprocess.run(
            ["/bin/bash", "-c", f"exec 9>&{writing}; {script}", "-", *line],
            env={"PATH": os.environ["PATH"], "HOME": str(home)} | environment,
            cwd=home,
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        ends.close()
        code = int(told.read() or b"-1")
    shown = f"{words} with {environment} {streams!r}: exit code {code}, {ran.stdout[-600:]!r} {ran.stderr[-1500:]!r}"
    assert code in _CODES[program], shown
    assert not any(word in ran.stdout + ran.stderr for word in _BAD_WORDS), shown
    assert code == 0 or "2>" in streams or ran.stderr or ran.stdout or "1>" in streams, f"not a word: {shown}"
    return code
