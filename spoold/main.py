"""Arguments → configuration → daemon → exit code."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from spoold import __version__
from spoold.clock import SystemClock, SystemEntropy
from spoold.config import DEFAULT_PATH, LoadedConfig, describe_config, load_config
from spoold.config_reload import ReloadResult, reload_config
from spoold.daemon import Daemon, spool_directory
from spoold.errors import ConfigError, SpooldError, SpoolError, SpoolUnreadableError
from spoold.log import configure_logging, get_logger, register_secrets
from spoold.spool.offline import open_offline
from spoold.systemd import ServiceManager

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 2


def main() -> None:
    """The program ``spoold``."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run with ``arguments`` and the process's environment; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        loaded = load_config(options.config, os.environ)
        if options.check_config:
            return _check(loaded)
    except ConfigError as exc:
        print(f"spoold: the configuration can't be used\n{exc}", file=sys.stderr)
        return EXIT_CONFIG
    return _serve(loaded, lambda current: reload_config(current, options.config, os.environ))


def _serve(loaded: LoadedConfig, reread: Callable[[LoadedConfig], ReloadResult]) -> int:
    register_secrets(loaded.config.secrets)
    configure_logging(loaded.config.log.level, loaded.config.log.format, sys.stdout)
    log = get_logger("spoold")
    for warning in loaded.warnings:
        log.warning("configuration", warning=warning)
    # What was imported lives as long as the process: a collection that walks it holds everybody up for 10 ms.
    gc.freeze()
    # Events are nobody else's business; the group may read, for spoolctl with the daemon down.
    os.umask(0o027)
    manager = ServiceManager(os.environ, os.getpid())
    daemon = Daemon(loaded, clock=SystemClock(), entropy=SystemEntropy(), manager=manager, reread=reread)
    code = EXIT_OK
    try:
        daemon.run()
    except ConfigError as exc:
        log.error("spoold can't start", error=str(exc))
        code = EXIT_CONFIG
    except SpooldError as exc:
        log.error("spoold ended", error=str(exc))
        code = EXIT_FAILED
    except OSError as exc:
        # A file of the spool that belongs to another user, a directory where a file should be.
        log.error("spoold ended", error=f"{exc.filename or 'a file'}: {exc.strerror}")
        code = EXIT_FAILED
    if daemon.has_hanging_thread:
        # Everything is committed and closed; only a thread that hangs in a name lookup is left, and it can't be ended.
        sys.stdout.flush()
        os._exit(code)
    return code


def _check(loaded: LoadedConfig) -> int:
    spool = spool_directory(loaded.config)
    code = EXIT_OK
    try:
        with open_offline(spool) as offline:
            print(f"# the spool in {spool} holds {offline.pending()} pending events")
    except SpoolUnreadableError as exc:
        print(f"# {exc}")
    except SpoolError as exc:
        # What is configured is wanted all the more where the spool is in trouble.
        print(f"spoold: {exc}", file=sys.stderr)
        code = EXIT_FAILED
    lines = [f"{key} = {orjson.dumps(value).decode()}  # {source}" for key, value, source in describe_config(loaded)]
    print("\n".join(lines))
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spoold",
        description="A durable on-disk spool for analytics events.",
        epilog="Exit codes: 0 stopped in order, 1 failed, 2 the configuration can't be used.",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"TOML file (default: {DEFAULT_PATH} when it exists)"
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="print the configuration in force, or what is wrong with it",
    )
    parser.add_argument("--version", action="version", version=f"spoold {__version__}")
    return parser
