"""One self-contained HTML page: sections of text, tables and figures, and how they were made.

No file stands beside it. What goes in is text, escaped by the template; nothing is taken for HTML,
so that a file or group with an odd name cannot become a script.
"""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any, Literal

from percert.extras import install_extra
from percert.files import write_whole
from percert.reports.table import Column
from percert.reports.table import Table as Table  # one of the blocks of a page

#: Of whole pages, and of the cells of a table.
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Paragraph:
    """Running text. ``tone`` sets it off: "note" beside the text, "warning" in red."""

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"

    kind = "paragraph"


@dataclass(frozen=True)
class Points:
    """A short heading, and what stands below it point by point."""

    title: str
    points: tuple[str, ...]

    kind = "points"


@dataclass(frozen=True)
class Figure:
    """A picture as the bytes of a PNG; ``alt`` says what is to be seen to those who cannot.

    Two that are ``half`` as wide stand side by side where there is room.
    """

    png: bytes
    caption: str
    alt: str
    half: bool = False

    kind = "figure"

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG"):
            raise ValueError(f"figure {self.caption!r}: expected the bytes of a PNG")

    @property
    def address(self) -> str:
        """The picture as an address that holds it."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Picture:
    """A small picture among others, as the bytes of a JPEG; ``None`` where it cannot be shown.

    ``lines`` stand below it, the first in bold; ``alt`` as that of a :class:`Figure`.
    """

    jpeg: bytes | None
    lines: tuple[str, ...]
    alt: str

    @property
    def address(self) -> str | None:
        """The picture as an address that holds it."""
        if self.jpeg is None:
            return None
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True)
class SideBySide:
    """A short heading, and pictures below it in a row, as many as there is room for."""

    title: str
    pictures: tuple[Picture, ...]

    kind = "pictures"


Block = Paragraph | Points | Table | Figure | SideBySide


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it. On paper a ``sheet`` ends its page."""

    title: str
    blocks: tuple[Block, ...]
    sheet: bool = False


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
        loader=jinja2.FileSystemLoader(TEMPLATES),
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


def kept_figure(
    folder: Path | None, name: str, png: bytes, caption: str, alt: str, *, half: bool = False
) -> Figure:
    """The figure for a page; its picture goes to ``folder / name`` as well, where there is one."""
    if folder is not None:
        write_whole(folder / name, png)
    return Figure(png, caption, alt, half)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("Made on %d %B %Y, %H:%M UTC, by percert.")


#: Longer values of settings are cut in tables; ``run.json`` has them whole.
LONGEST = 300


def how_made(record: Mapping[str, Any] | None) -> Section:
    """The section for a run, from what :func:`percert.reports.read_run` gives.

    ``None`` stands for a run without ``run.json``: of that it says so.

    >>> section = how_made({"command": ["/bin/percert", "attack", "my images"], "seed": 0})
    >>> section.blocks[0].text
    "To make it again: percert attack 'my images'"
    """
    if record is None:
        missing = "There is no run.json in the folder: how this was made is not known."
        return Section("How this was made", (Paragraph(missing, "warning"),))
    blocks: list[Block] = []
    if command := rerun(record):
        blocks.append(Paragraph(f"To make it again: {command}"))
    if record.get("finished") is False:
        blocks.append(
            Paragraph("The run is not finished; the same command goes on with it.", "warning")
        )
    blocks.append(
        Table.of(
            [fact for fact in _facts(record) if fact[1]],
            [Column("", lambda fact: fact[0]), Column("", lambda fact: fact[1])],
            "The run, as run.json has it.",
        )
    )
    settings = record.get("settings")
    if isinstance(settings, Mapping) and settings:
        blocks.append(
            Table.of(
                settings.items(),
                [
                    Column("setting", lambda one: one[0]),
                    Column("value", lambda one: as_text(one[1])),
                ],
                "What the results depend on.",
            )
        )
    return Section("How this was made", tuple(blocks))


def rerun(record: Mapping[str, Any]) -> str:
    """The command of a run as one would type it; empty where none is recorded."""
    command = record.get("command")
    if not isinstance(command, list) or not command:
        return ""
    words = [str(word) for word in command]
    if words[0].endswith("__main__.py") or PurePath(words[0]).name.startswith("percert"):
        words[0] = "percert"
    return shlex.join(words)


def as_text(value: Any) -> str:
    """A setting as text for a table.

    >>> as_text(["a", "b"]), as_text({"k": 1}), as_text(None), as_text(0.1)
    ('a, b', 'k: 1', '-', '0.1')
    """
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}: {as_text(entry)}" for name, entry in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(as_text, value))
    else:
        text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds = record.get("seconds")
    return [
        ("made", as_text(record.get("written"))),
        ("seed", as_text(record.get("seed"))),
        ("device", as_text(record.get("device"))),
        ("seconds", f"{seconds:.1f}" if isinstance(seconds, int | float) else ""),
        ("commit", as_text(record.get("commit"))),
        ("versions", as_text(record.get("versions"))),
    ]
