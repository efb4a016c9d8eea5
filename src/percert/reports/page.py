"""One self-contained HTML page: sections of text, tables and figures, no file beside it.

What goes in is text, escaped by the template; nothing is taken for HTML, so that a file or group
with an odd name cannot become a script.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from percert.extras import install_extra


@dataclass(frozen=True)
class Paragraph:
    """Running text. ``tone`` sets it off: "note" beside the text, "warning" in red."""

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"

    kind = "paragraph"


@dataclass(frozen=True)
class Table:
    """``columns`` are (heading, "left" or "right"); every row has a cell of text for each."""

    columns: tuple[tuple[str, Literal["left", "right"]], ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    kind = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}: expected {len(self.columns)} cells a row, found "
                    f"{len(row)} in {row}"
                )


@dataclass(frozen=True)
class Figure:
    """A picture as the bytes of a PNG; ``alt`` says what is to be seen to those who cannot."""

    png: bytes
    caption: str
    alt: str

    kind = "figure"

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG"):
            raise ValueError(f"figure {self.caption!r}: expected the bytes of a PNG")

    @property
    def address(self) -> str:
        """The picture as an address that holds it."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


Block = Paragraph | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


def render_page(title: str, sections: Sequence[Section], *, lead: str = "", made: str = "") -> str:
    """The whole page as text. ``lead`` stands below the title, ``made`` at the foot. Needs jinja2.

    >>> page = render_page("Audit of <a>", [Section("Result", (Paragraph("1 < 2"),))])
    >>> "Audit of &lt;a&gt;" in page, "1 &lt; 2" in page, "<script" in page
    (True, True, False)
    """
    try:
        import jinja2
    except ImportError:
        raise ValueError(f"reports need jinja2: {install_extra('report')}") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(
        title=title, lead=lead, sections=list(enumerate(sections, 1)), made=made or _now()
    )


def write_page(
    path: Path, title: str, sections: Sequence[Section], *, lead: str = "", made: str = ""
) -> None:
    """Write the page to ``path``, whole or not at all."""
    write_whole(
        path, render_page(title, sections, lead=lead, made=made).encode("utf-8", "backslashreplace")
    )


def kept_figure(folder: Path | None, name: str, png: bytes, caption: str, alt: str) -> Figure:
    """The figure for a page; its picture goes to ``folder / name`` as well, where there is one."""
    if folder is not None:
        write_whole(folder / name, png)
    return Figure(png, caption, alt)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` such that a kill leaves the old file or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with waiting.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(waiting, path)
    finally:
        waiting.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("Made on %d %B %Y, %H:%M UTC, by percert.")
