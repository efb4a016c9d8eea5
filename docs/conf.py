"""Sphinx's settings, and the two tables that are written from the code so that they cannot age."""

from importlib.metadata import version as installed_version
from pathlib import Path

import typer
from sphinx.application import Sphinx

from percert.cli import app
from percert.metrics.catalog import CATALOG

project = "percert"
author = "the percert contributors"
copyright = "2026, the percert contributors"
release = version = installed_version("percert")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = "percert"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

GENERATED = Path(__file__).parent / "_generated"


def write_metrics() -> None:
    """The catalog as a table, one row a card."""
    lines = [
        "| name | what it is | range | resolution | weights | certificates |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for card in CATALOG.values():
        size = "the images' own" if card.resolution is None else "{} x {}".format(*card.resolution)
        weights = {"none": "none", "optional": "in the package", "required": "a file of yours"}
        row = (
            f"`{card.name}`",
            card.summary,
            "{:g} to {:g}".format(*card.range),
            size,
            weights[card.checkpoint],
            "yes" if card.embedding else "no",
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |")
    (GENERATED / "metrics.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_command_line() -> None:
    """Every verb with its own help text."""
    lines: list[str] = []

    def describe(command: typer.core.click.Command, path: str) -> None:
        context = typer.core.click.Context(command, info_name=path)
        help_text = command.get_help(context)
        lines.extend([f"## `{path}`", "", "```text", help_text.strip(), "```", ""])
        for name, verb in sorted(getattr(command, "commands", {}).items()):
            describe(verb, f"{path} {name}")

    describe(typer.main.get_command(app), "percert")
    (GENERATED / "command-line.md").write_text("\n".join(lines), encoding="utf-8")


def generate(_: Sphinx) -> None:
    GENERATED.mkdir(exist_ok=True)
    write_metrics()
    write_command_line()


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", generate)
