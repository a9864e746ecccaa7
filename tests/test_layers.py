"""A module of synchro imports only from those above it in the list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import synchro

ROOT = Path(synchro.__file__).parent

# From the bottom of the building to the roof. Names on one line do not know each other.
LAYERS = [
    ["turns"],
    [
        "ahead",
        "asis",
        "exceptions",
        "chunks",
        "durations",
        "fields",
        "flags",
        "halving",
        "keysets",
        "schema",
    ],
    ["keynumbers"],
    ["keypairs", "keytimes", "suspend", "legacy", "transient"],
    ["changes"],
    ["checkpoint", "fate", "graph", "keys"],
    ["names"],
    ["conf", "models", "takeover"],
    ["members", "nodes", "holds", "retries"],
    ["triggers.spec"],
    ["triggers.base"],
    ["triggers.mysql", "triggers.postgresql", "triggers.sqlite"],
    ["triggers.vendors"],
    ["triggers.presence"],
    ["triggers.install", "triggers.silence", "triggers.tombstones"],
    ["triggers.migrating"],
    ["capture", "entries"],
    ["collapsed", "conflicts", "plan", "preview", "receivers"],
    ["log"],
    ["sealing"],
    ["conversion", "histories", "loading.base", "reserving"],
    ["loading.mysql", "loading.postgresql", "loading.sqlite"],
    ["loading.vendors"],
    ["sql", "remotes.base"],
    ["references"],
    ["remotes.database"],
    ["counterparts", "placeholders"],
    ["rivals"],
    ["companions", "held", "journal", "saving", "translate", "uniques"],
    ["planner", "table"],
    ["clocks", "differ", "results"],
    ["audit", "hooks", "selection", "tracking", "work"],
    ["deletions", "limits", "links", "standing", "writing"],
    ["outlook", "replay"],
    ["adopt", "dryrun", "lock", "restored", "retention", "run", "status"],
    ["history", "pairs"],
    ["attempts"],
    ["core"],
    ["background", "liveness"],
    ["launch", "inspecting"],
    ["pages.access", "pages.addresses", "pages.charts", "pages.paging", "pages.trail"],
    ["pages.naming"],
    ["pages.visibility"],
    ["pages.showing"],
    ["pages.runs"],
    ["pages.adopting", "pages.held", "pages.overview", "pages.previews", "pages.resetting"],
    [
        "checks",
        "admin",
        "templatetags.synchro_pages",
        "views",
        "management.commands.synchro_purge",
        "management.commands.synchro_status",
        "management.commands.synchro_adopt",
        "management.commands.synchro_triggers",
        "management.commands.synchronize",
    ],
    ["urls"],
    ["apps"],
]
# Loaded lazily (__init__), or only holding a folder together.
FREE = {
    "__init__",
    "loading.__init__",
    "remotes.__init__",
    "triggers.__init__",
    "management.__init__",
    "management.commands.__init__",
    "pages.__init__",
    "templatetags.__init__",
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in ROOT.rglob("*.py")
        if "migrations" not in path.parts
    }


def imports(path: Path) -> set[str]:
    """The modules of synchro that a module imports, inside functions too."""
    found: set[str] = set()
    known = modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "synchro":
            base = (node.module or "").removeprefix("synchro").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                found.add(inner if inner in known else base)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("synchro.")
                for alias in node.names
                if alias.name.startswith("synchro.")
            }
    return found - {""}


@pytest.mark.once
def test_every_module_has_its_layer():
    named = {name for layer in LAYERS for name in layer}
    assert named == set(modules()) - FREE


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(name for layer in LAYERS for name in layer))
def test_a_module_imports_only_from_the_layers_below(name):
    height = {module: index for index, layer in enumerate(LAYERS) for module in layer}
    above = {found for found in imports(modules()[name]) if height[found] >= height[name]}
    assert not above, f"synchro.{name} imports {sorted(above)}"
