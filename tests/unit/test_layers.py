"""Imports go along the arrows of ARCHITECTURE.md and nowhere else: the syntax trees say so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: For each part, which of our own modules it may import beside its own; a name stands for what is below it too.
ARROWS: dict[str, set[str]] = {
    "spoold.errors": set(),
    "spoold.clock": set(),
    "spoold.units": set(),
    "spoold.metrics": {"spoold.errors"},
    "spoold.runtime": {"spoold.clock"},
    "spoold.log": {"spoold.clock"},
    "spoold.door_hours": {"spoold.clock", "spoold.metrics"},
    "spoold.record": {"spoold.api", "spoold.errors"},
    "spoold.spool": {"spoold.clock", "spoold.errors", "spoold.record"},
    "spoold.providers": {"spoold.clock", "spoold.errors", "spoold.record", "spoold.__version__"},
    "spoold.delivery": {
        "spoold.clock", "spoold.config", "spoold.errors", "spoold.log", "spoold.metrics", "spoold.providers",
        "spoold.record", "spoold.runtime", "spoold.spool",
    },
    "spoold.ingest": {
        "spoold.api", "spoold.clock", "spoold.errors", "spoold.log", "spoold.metrics", "spoold.record",
        "spoold.spool.contract", "spoold.spool.values",
    },
    "spoold.admin": {
        "spoold.__version__", "spoold.api", "spoold.clock", "spoold.delivery", "spoold.door_hours", "spoold.errors",
        "spoold.log", "spoold.metrics", "spoold.record", "spoold.spool", "spoold.units",
    },
    "spoolctl": {
        "spoold.__version__", "spoold.api", "spoold.clock", "spoold.errors", "spoold.record", "spoold.spool",
        "spoold.units",
    },
}  # fmt: skip

#: Third-party and standard modules that only these parts may import.
OWNERS: dict[str, tuple[str, ...]] = {
    "sqlite3": ("spoold.spool",),
    "persistqueue": ("spoold.spool",),
    "requests": ("spoold.providers",),
    "urllib3": ("spoold.providers",),
    "grpc": ("spoold.ingest", "spoold.admin", "spoolctl"),
    "prometheus_client": ("spoold.metrics", "spoold.gauges"),
    "structlog": ("spoold.log",),
    "pydantic": ("spoold.config", "spoold.config_lanes", "spoold.config_sources", "spoold.config_values"),
    "threading": ("spoold.runtime", "spoolctl"),
    "time": ("spoold.clock", "spoolctl"),
    "random": ("spoold.clock",),
    "typer": ("spoolctl",),
    "rich": ("spoolctl",),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module that we wrote, by its dotted name."""
    for base in (ROOT, ROOT / "cli"):
        for package in ("spoold", "spoolctl"):
            for path in sorted((base / package).rglob("*.py")):
                parts = path.relative_to(base).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                if not name.startswith("spoold.api"):
                    yield name, ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    """What a module imports, each name spelt out: ``from a import b`` is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


IMPORTS = [(module, name) for module, tree in modules() for name in imports(tree)]


@pytest.mark.parametrize("part", ARROWS)
def test_a_part_imports_only_what_its_arrows_allow(part: str) -> None:
    ours = [(module, name) for module, name in IMPORTS if is_below(module, part) and name.startswith("spool")]

    wrong = [pair for pair in ours if not any(is_below(pair[1], allowed) for allowed in ARROWS[part] | {part})]

    assert not wrong


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {module for module, name in IMPORTS if is_below(name, library)}

    assert not [user for user in users if not any(is_below(user, owner) for owner in OWNERS[library])]


def test_every_module_below_an_arrow_is_looked_at() -> None:
    known = [module for module, _ in modules()]

    assert not [part for part in ARROWS if not any(is_below(module, part) for module in known)]


def test_no_import_is_relative_or_of_everything() -> None:
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, module
                assert all(alias.name != "*" for alias in node.names), module


def test_nothing_is_imported_late() -> None:
    """A package upgrade swaps the files under a running daemon: what it needs it has imported at start."""
    late = [
        (module, node.name)
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(True for _ in imports(node))
    ]

    assert not late


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "base_utils"}

    assert not [module for module, _ in modules() if module.rpartition(".")[2] in vague]


def test_only_the_spool_names_its_tables() -> None:
    """SQL is in ``spool/``: a review of it is a review of one folder."""
    tables = ("queue_journal", "set_aside", "lane_gap", "FROM ledger", "INTO ledger")

    for module, tree in modules():
        if not is_below(module, "spoold.spool"):
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            assert not [text for text in texts if isinstance(text, str) and any(table in text for table in tables)]
