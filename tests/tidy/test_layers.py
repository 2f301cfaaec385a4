"""Who may import whom."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.tidy.tree import PROGRAMS, imports, modules, name

# A vendor's library, and the only files or directories that import it.
CONFINED = {
    "aiohttp": ("master/http.py", "agent/posted/server.py"),
    "confluent_kafka": ("agent/kafka/consumer.py",),
    "kazoo": ("qanat/coordination/zookeeper.py",),
    "sqlite3": ("qanat/coordination/",),
    "prometheus_client": ("qanat/metrics.py", "qanat/described.py"),
    "prompt_toolkit": ("qanat/cli/shell/",),
    "lark": ("qanat/flow/",),
    "sqlalchemy": ("qanat/channels/sql_database.py",),
    "fastavro": ("agent/spooling/", "collector/", "qanat/ledger/"),
    "pyarrow": (
        "agent/avro/",
        "agent/kafka/",
        "agent/joining/",
        "agent/otlp/",
        "agent/posted/",
        "agent/published/",
        "agent/spooling/",
        "agent/syslog/",
        "qanat/columns.py",
        "qanat/ops.py",
        "qanat/ledger/",
        "qanat/decorators/",
        "qanat/testing/",
        "collector/",
    ),
}

# What an agent that forwards lines loads, and what every start of the command pays for.
LIGHT = (
    *("qanat.batch", "qanat.cli.main", "agent.command", "agent.sources.tail", "agent.sources.tail_dir"),
    *("agent.sources.spool_dir", "agent.sources.text"),
)
HEAVY = ("pyarrow", "numpy", "fastavro", "kazoo", "sqlalchemy", "sqlite3", "hypothesis")


def test_programs_meet_only_in_the_library():
    wrong = [
        f"{name(file)}:{line} imports {imported}"
        for file in modules()
        for line, imported in imports(file)
        if (package := imported.partition(".")[0]) in PROGRAMS and package != name(file).partition("/")[0]
    ]
    assert not wrong, "qanat imports no program, and no program another (design, section 3):\n" + "\n".join(
        wrong
    )


@pytest.mark.parametrize("library", CONFINED)
def test_vendor_library_is_imported_in_one_place(library):
    wrong = [
        f"{name(file)}:{line}"
        for file in modules()
        for line, imported in imports(file)
        if imported.partition(".")[0] == library and not name(file).startswith(CONFINED[library])
    ]
    assert not wrong, f"{library} belongs to {', '.join(CONFINED[library])} (style, rule 3): {wrong}"


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_loads_nothing_heavy(module):
    assert importlib.util.find_spec(module) is not None, f"{module} does not exist"
    script = f"import sys, {module}; print(*(heavy for heavy in {HEAVY!r} if heavy in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == [], f"import {module} loads them; import where a component opens (style, rule 3)"
