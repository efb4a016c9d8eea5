"""How a report was made, and how to make it again: the last section of every one."""

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from percert.reports.page import Block, Paragraph, Section, Table

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
        Table(
            (("", "left"), ("", "left")),
            tuple((name, text) for name, text in _facts(record) if text),
            "The run, as run.json has it.",
        )
    )
    settings = record.get("settings")
    if isinstance(settings, Mapping) and settings:
        blocks.append(
            Table(
                (("setting", "left"), ("value", "left")),
                tuple((str(name), as_text(value)) for name, value in settings.items()),
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
