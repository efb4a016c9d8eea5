"""The parts of pages that are written from the code, so that they cannot age; Sphinx is not needed.

``conf.py`` writes them into ``_generated``, and the pages of ``reference`` include them.
"""

import importlib
import inspect
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from typer.main import get_command
from typer.testing import CliRunner

from percert.attacks.catalog import CATALOG as ATTACKS
from percert.attacks.catalog import AttackCard
from percert.cli import app
from percert.metrics.card import MetricCard
from percert.metrics.catalog import CATALOG as METRICS
from percert.reports.table import Column, Table

SURFACE = Path(__file__).parent.parent / "tests" / "api_surface.txt"
WEIGHTS = {
    "none": "none",
    "optional": "in the package",
    "required": "a file of yours",
    "fetched": "published, fetched",
    "packaged": "extra `networks`",
}


def metrics() -> str:
    """The catalog of metrics, a row a card."""
    columns: list[Column[MetricCard]] = [
        Column("name", lambda card: f"`{card.name}`"),
        Column("what it is", attrgetter("summary")),
        Column("range", lambda card: "{:g} to {:g}".format(*card.range)),
        Column("resolution", _resolution),
        Column("weights", lambda card: WEIGHTS[card.checkpoint]),
        Column("certificates", lambda card: "yes" if card.embedding else "no"),
    ]
    return Table.of(METRICS.values(), columns).markdown()


def _resolution(card: MetricCard) -> str:
    return "the images' own" if card.resolution is None else "{} x {}".format(*card.resolution)


def attacks() -> str:
    """The catalog of attacks, a row a card."""
    columns: list[Column[AttackCard]] = [
        Column("name", lambda card: f"`{card.name}`"),
        Column("kind", attrgetter("kind")),
        Column("against", lambda card: ", ".join(card.goals)),
        Column("what it does", attrgetter("summary")),
    ]
    return Table.of(ATTACKS.values(), columns).markdown()


def command_line() -> str:
    """Every verb with its own help text."""
    lines: list[str] = []

    def describe(command: object, words: list[str]) -> None:
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "96", "TERM": "dumb"})
        if shown.exit_code != 0:
            raise RuntimeError(f"percert {' '.join(words)} --help failed: {shown.output}")
        title = " ".join(["percert", *words])
        lines.extend([f"## `{title}`", "", "```text", shown.output.strip(), "```", ""])
        for name, verb in sorted(getattr(command, "commands", {}).items()):
            describe(verb, [*words, name])

    describe(get_command(app), [])
    return "\n".join(lines)


def api() -> str:
    """All that the public packages say is public (their ``__all__``), a section a package.

    The packages are those of ``tests/api_surface.txt``.
    """
    names = SURFACE.read_text("utf-8").split()
    packages = sorted({name.rpartition(".")[0] for name in names})
    return "\n".join(section for package in packages for section in _package(package))


def _package(package: str) -> list[str]:
    module = importlib.import_module(package)
    lines = [f"## `{package}`", "", "```{eval-rst}", f".. automodule:: {package}", "```", ""]
    for name in sorted(module.__all__):
        value, full = getattr(module, name), f"{package}.{name}"
        if isinstance(value, ModuleType):  # which has a section of its own, if it is for users
            lines += [f"- {{py:mod}}`{full}`", ""]
        else:
            lines += ["```{eval-rst}", *_directive(full, value), "```", ""]
    return lines


def _directive(name: str, value: object) -> list[str]:
    """What documents ``value``. Of a constant it is the value: autodoc would explain its type."""
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:"]
    if inspect.isroutine(value):
        return [f".. autofunction:: {name}"]
    shown = sorted(value) if isinstance(value, frozenset) else value
    return [f".. py:data:: {name}", f"   :value: {shown!r}"]


#: The file in ``_generated`` of each.
FILES = {
    "metrics.md": metrics,
    "attacks.md": attacks,
    "command-line.md": command_line,
    "api.md": api,
}
