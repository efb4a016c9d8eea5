"""Sphinx's settings. What is written from the code before the pages are built: ``written.py``."""

import re
import sys
from html import unescape
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).parent))
from written import FILES

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
    for name, write in FILES.items():
        (GENERATED / name).write_text(write(), encoding="utf-8")


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
