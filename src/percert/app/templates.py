"""The page's templates; what goes in is text, and is escaped."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

import percert
from percert.reports.lengths import describe, levels, peak_db, rounded_down

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
        describe=describe, levels=levels, peak_db=peak_db, rounded_down=rounded_down
    )
    return made


def render(
    name: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The template ``name`` as an answer."""
    return HTMLResponse(environment().get_template(name).render(values), status, headers)
