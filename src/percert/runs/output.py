"""The folder that a run writes: images, records, and what was run; enough to go on after a kill."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from percert.check import Argument, ArgumentError
from percert.images import save_image
from percert.reports.records import Columns, RecordStore, read_run
from percert.runs.attack import Step
from percert.runs.items import ImageItem, output_name


@dataclass
class Tally:
    """What could not be done: image and reason, attack and reason."""

    bad: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def check_names(items: Iterable[ImageItem]) -> None:
    """Raise ``ValueError`` where two items would be one in records or in files.

    >>> check_names([ImageItem("a", Path("a")), ImageItem("a.png", Path("a.png"))])
    Traceback (most recent call last):
    ValueError: 'a' and 'a.png' would both be written to a.png; rename one
    """
    found: dict[str, str] = {}
    for item in items:
        path = output_name(item.name)
        if path in found:
            raise ValueError(
                f"{found[path]!r} and {item.name!r} would both be written to {path}; rename one"
            )
        found[path] = item.name


def open_output(folder: Path, columns: Columns, settings: Mapping[str, Any]) -> RecordStore:
    """The records in ``folder``, perhaps of a run that was killed.

    Raises ``ValueError`` where the folder holds a run with other ``settings``, whose rows would
    not go with those of this one.
    """
    found = read_run(folder)
    if found is not None:
        before = found.get("settings", {})
        for key in {**before, **settings}:
            if before.get(key) != settings.get(key):
                raise ArgumentError(
                    f"{folder}: holds a run with {key} {before.get(key)!r}, this one has "
                    f"{settings.get(key)!r}; give another ",
                    Argument("out"),
                )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file, expected a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    return RecordStore(folder, columns, key=("image", "attack"))


def keep(
    outcomes: Iterable[Step], store: RecordStore, tally: Tally, *, images: bool = True
) -> Iterable[Step]:
    """Write each outcome's images and rows as it comes, and hand it on.

    The images are there before the row that names them.
    """
    for outcome in outcomes:
        for row, image in zip(outcome.rows, outcome.images, strict=True):
            if image is None:
                continue
            if not images:
                row["file"] = None
                continue
            path = store.folder / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(image, path)
        store.append(outcome.rows)
        if outcome.bad is not None:
            tally.bad.append((outcome.bad.name, outcome.reason))
        if outcome.failed is not None:
            reason, _, details = outcome.reason.partition("\n")
            tally.failed.append((outcome.failed, reason))
            with (store.folder / "errors.log").open("a", encoding="utf-8") as log:
                log.write(f"{outcome.failed}\n{details}\n")
        yield outcome


def folder_names(attacks: Iterable[str]) -> dict[str, str]:
    """A folder's name for each attack as written on the command line.

    >>> folder_names(["apgd:norm=l2,eps=1"])
    {'apgd:norm=l2,eps=1': 'apgd_norm=l2_eps=1'}
    """
    found: dict[str, str] = {}
    for attack in attacks:
        name = re.sub(r"[^A-Za-z0-9.=+-]+", "_", attack).strip("._") or "attack"
        for other, taken in found.items():
            if taken.lower() == name.lower():
                raise ValueError(f"attacks {other!r} and {attack!r} would share a folder")
        found[attack] = name
    return found
