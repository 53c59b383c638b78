"""What the operating system hands over: signals."""

import os
import signal
import subprocess
import sys

_ROUNDS = 5_000

# Says a letter for each signal that it is told of, from the loop that the daemon runs on.
_LISTENER = """
import asyncio, os, signal, uvloop
from spoold.runtime import on_signal

async def main():
    loop = asyncio.get_running_loop()
    on_signal(signal.SIGHUP, loop, lambda: os.write(1, b"h"))
    on_signal(signal.SIGTERM, loop, lambda: os.write(1, b"t"))
    os.write(1, b"r")
    await asyncio.Event().wait()

uvloop.run(main())
"""


def test_a_signal_close_behind_another_is_told_once() -> None:
    with subprocess.Popen([sys.executable, "-c", _LISTENER], stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        heard = listener.stdout.fileno()
        assert os.read(heard, 1) == b"r"
        told = {ord("h"): 0, ord("t"): 0}
        try:
            for number in range(1, _ROUNDS + 1):
                os.kill(listener.pid, signal.SIGHUP)
                for _ in range(number % 40):
                    # Nothing but a moment between the two, another one each time.
                    os.kill(listener.pid, 0)
                os.kill(listener.pid, signal.SIGTERM)
                while min(told.values()) < number:
                    for letter in os.read(heard, 64):
                        told[letter] += 1
                assert max(told.values()) == number
        finally:
            listener.kill()
