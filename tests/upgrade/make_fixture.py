"""Makes the fixtures of the spool's formats, each by the version that wrote it.

    python -m tests.upgrade.make_fixture 3      # of format 3

A format's fixture is made once, by the last commit that wrote this format, and kept: ``format-N.tar.xz`` holds the
spool as a killed daemon left it, and as a stop in order left it; ``format-N.json`` what is known of both. The present
format has its fixture too, so that the next change of the schema finds one. Whoever adds a migration names the commit
before it below, where it says None, adds a line for the new format, and makes that fixture when all is committed.

Needs git, and pip for the dependencies of the old version. The checkout itself is not touched.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: Format → the last commit that wrote it; None: the present one.
COMMITS: dict[int, str | None] = {
    1: "a472ec8",
    2: "b49ab93",
    3: None,
}


def make(version: int) -> None:
    """Live through ``old_life`` with the version that wrote this format, and keep what it leaves."""
    commit = COMMITS[version] or "HEAD"
    with tempfile.TemporaryDirectory(prefix="spoold-fixture-") as directory:
        home = Path(directory)
        source = home / "source"
        _run("git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(source), commit)
        try:
            venv.create(home / "venv", with_pip=True)
            python = home / "venv" / "bin" / "python"
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source))
        finally:
            _run("git", "-C", str(ROOT), "worktree", "remove", "--force", str(source))
        # Today's tests and the old program: nothing else of today's may be found from there.
        (home / "tests").symlink_to(ROOT / "tests")
        (home / "life").mkdir()
        life = [str(python), "-m", "tests.upgrade.old_life", str(version), str(home / "life")]
        subprocess.run(life, cwd=home, env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}, check=True)
        _keep(version, home / "life")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _keep(version: int, life: Path) -> None:
    with tarfile.open(HERE / f"format-{version}.tar.xz", "w:xz", preset=9) as archive:
        for name in ("killed", "stopped"):
            archive.add(life / name, name, filter=_anonymous)
    shutil.copy(life / "known.json", HERE / f"format-{version}.json")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o700 if member.isdir() else 0o600
    return member


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("formats", nargs="+", type=int, choices=sorted(COMMITS), help="which ones")
    for version in parser.parse_args().formats:
        make(version)
        sys.stdout.write(f"format {version}: {(HERE / f'format-{version}.tar.xz').stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
