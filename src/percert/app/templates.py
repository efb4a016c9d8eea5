"""The page's templates; what goes in is text, and is escaped."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

import percert
from percert.app.scale import closeness
from percert.reports.lengths import rounded_down
from percert.reports.visible import seen_words, tampering

#: Beside this module; a package of that name would hide it.
FOLDER = Path(__file__).parent / "html"


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates, with the words for lengths that the command line uses."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(version=percert.__version__)
    made.filters.update(
        closeness=closeness,
        plain=plain,
        rounded_down=rounded_down,
        seen_words=seen_words,
        tampering=tampering,
    )
    return made


def plain(value: float) -> str:
    """A number without an exponent, to three digits, and no more than four after the point.

    >>> plain(0.20951), plain(7.234e-08), plain(58380.0), plain(0.0)
    ('0.21', 'under 0.0001', '58,380', '0')
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return "under 0.0001"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3g}"


def render(
    name: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The template ``name`` as an answer."""
    return HTMLResponse(environment().get_template(name).render(values), status, headers)
