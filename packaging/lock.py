"""Writes ``packaging/requirements.txt``: the libraries in the Debian package, pinned with the hashes of their wheels.

Run it with the Python of an environment in which the tests pass: the versions there are the ones that are pinned.
"""

# ruff: noqa: INP001 - a program, not a module

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_TARGET = _ROOT / "packaging" / "requirements.txt"
#: Of Debian 12 and 13.
_PYTHONS = ("3.11", "3.13")
_MACHINES = ("x86_64", "aarch64")
_MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_17", "manylinux2014")
_HEAD = """\
# The libraries in the Debian package: packaging/lock.py writes this, from an environment in which the tests pass.
"""


def main() -> None:
    """Ask pip for each Debian release and machine, and write what it chose."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for python in _PYTHONS:
        for machine in _MACHINES:
            for name, digest in _choose(python, machine):
                hashes[name].add(digest)
    lines = [
        " \\\n    ".join([name, *(f"--hash=sha256:{digest}" for digest in sorted(hashes[name]))])
        for name in sorted(hashes)
    ]
    _TARGET.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def _choose(python: str, machine: str) -> list[tuple[str, str]]:
    """Names with versions, and the SHA-256 of the wheel that pip takes for each."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        tested = Path(folder) / "tested.txt"
        tested.write_text(
            "".join(f"{one.name}=={one.version}\n" for one in distributions() if one.name != project["name"]),
            encoding="utf-8",
        )
        report = Path(folder) / "report.json"
        platforms = [word for tag in _MANYLINUX for word in ("--platform", f"{tag}_{machine}")]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "--target", folder, "--only-binary", ":all:", "--python-version", python]
        subprocess.run([*command, *platforms, "--constraint", str(tested), *project["dependencies"]], check=True)  # noqa: S603
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        (
            f"{one['metadata']['name'].lower()}=={one['metadata']['version']}",
            one["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for one in found
    ]


if __name__ == "__main__":
    main()
