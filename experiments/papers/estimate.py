"""How long a run may take, before it starts: by how long the last one took that is on record."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.papers.item import PaperItem, Setting
from experiments.papers.run import is_finished
from percert.cli.command import complain
from percert.cli.progress import duration

#: The last run on record: seconds of each item, and for how many photographs.
RECORD = Path(__file__).parents[2] / "docs" / "results" / "reproduce.json"
#: How much longer attacks on triplets take than the short ones: 100 steps of one loss, for 20 of
#: each of two. Nobody has timed all of AutoAttack.
LONGER = {"short": 1.0, "authors": 2.5}
#: As long with any number of photographs: they take all digits, all faces, or none.
FIXED = ("hpot-table5", "hpot-section4", "hpot-figure3", "hpot-figure8", "hpot-figure9")
ATTACKED = ("lipsim-table1", "lipsim-table3", "lipsim-figure3a")


def recorded() -> dict[str, Any]:
    """The last run on record: how many ``images``, and the ``items`` as ``reproduce.json`` says."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def say_estimate(items: Sequence[PaperItem], setting: Setting) -> None:
    """Say on stderr how long what is not made yet of ``items`` may take.

    Time grows with the number of photographs, but for :data:`FIXED`.
    """
    # What takes a download is made only where that is: nothing of the kind is on record then.
    made = {entry["name"] for entry in recorded()["items"] if entry["outcome"] == "made"}
    to_run = [item for item in items if item.run and (item.offline or item.name in made)]
    to_make = [item for item in to_run if not is_finished(item, setting)]
    kept = len(to_run) - len(to_make)
    seconds, unknown = estimate(to_make, setting, recorded())
    if len(items) == 1:
        if seconds >= 1:
            complain(f"about {duration(seconds)} where docs/results/reproduce.md was made")
        return
    takes = "takes" if len(unknown) == 1 else "take"
    more = f"; how long {', '.join(unknown)} {takes} is not known" if unknown else ""
    complain(
        f"{len(to_make)} of {len(to_make) + kept} tables and figures to make: about "
        f"{duration(seconds)} where docs/results/reproduce.md was made{more}"
    )


def estimate(
    items: Sequence[PaperItem], setting: Setting, record: dict[str, Any]
) -> tuple[float, list[str]]:
    """Seconds that ``items`` may take by ``record``, and the names of those that it has not.

    An item of the record is of its own ``images``, where it says so.

    >>> from experiments.papers import CATALOG
    >>> first = {"name": "lipsim-table1", "seconds": 100.0}
    >>> second = {"name": "lipsim-table2", "seconds": 8.0, "images": 4}
    >>> third = {"name": "hpot-figure9", "seconds": 50.0, "images": 4}
    >>> record = {"images": 20, "items": [first, second, third]}
    >>> names = ("lipsim-table1", "lipsim-table2", "hpot-figure9", "hpot-table1")
    >>> some = [CATALOG[name] for name in names]
    >>> estimate(some, Setting(Path("out"), images=60), record)
    (470.0, ['hpot-table1'])
    """
    took = {
        entry["name"]: entry["seconds"]
        if entry["name"] in FIXED
        else entry["seconds"] * setting.images / (entry.get("images") or record["images"])
        for entry in record["items"]
        if entry["seconds"]
    }
    total, unknown = 0.0, []
    for item in items:
        longer = LONGER.get(setting.autoattack) if item.name in ATTACKED else 1.0
        if item.name not in took or longer is None:
            unknown.append(item.name)
        else:
            total += longer * took[item.name]
    return total, unknown
