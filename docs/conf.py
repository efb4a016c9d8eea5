"""Sphinx's settings, and the two tables that are written from the code so that they cannot age."""

import re
from html import unescape
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from typer.main import get_command
from typer.testing import CliRunner

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
        weights = {
            "none": "none",
            "optional": "in the package",
            "required": "a file of yours",
            "fetched": "published, fetched",
            "packaged": "extra `networks`",
        }
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

    def describe(command: object, words: list[str]) -> None:
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "96", "TERM": "dumb"})
        if shown.exit_code != 0:
            raise RuntimeError(f"percert {' '.join(words)} --help failed: {shown.output}")
        title = " ".join(["percert", *words])
        lines.extend([f"## `{title}`", "", "```text", shown.output.strip(), "```", ""])
        for name, verb in sorted(getattr(command, "commands", {}).items()):
            describe(verb, [*words, name])

    describe(get_command(app), [])
    (GENERATED / "command-line.md").write_text("\n".join(lines), encoding="utf-8")


def keep_bars(*details: Any) -> None:
    """Let |h| in a docstring be a norm, where reStructuredText would look up a substitution "h"."""
    lines: list[str] = details[-1]
    example = False
    for number, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            literal_apart = line.split("``")
            literal_apart[::2] = [text.replace("|", r"\|") for text in literal_apart[::2]]
            lines[number] = "``".join(literal_apart)


def generate(_: Sphinx) -> None:
    GENERATED.mkdir(exist_ok=True)
    write_metrics()
    write_command_line()


def check_titles(app: Sphinx, failure: Exception | None) -> None:
    """Fail unless each page was built under its own title.

    Sphinx writes its index and its search over a page that has their name, and says nothing.
    """
    if failure is not None or app.builder.format != "html":
        return
    for page, title in app.env.titles.items():
        built = Path(app.builder.get_outfilename(page)).read_text(encoding="utf-8")
        (shown,) = re.findall(r"<title>(.*?)</title>", built.split("</head>")[0], re.DOTALL)
        expected = title.astext().strip()
        if not re.sub(r"[\W_]", "", unescape(shown)).startswith(re.sub(r"[\W_]", "", expected)):
            raise ExtensionError(f"{page}: built with the title {shown!r}, expected {expected!r}")


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("build-finished", check_titles)
