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
ATTACKED = ("lipsim-table1", "lipsim-table3", "lipsim-figure3a")


def recorded() -> dict[str, Any]:
    """The last run on record: how many ``images``, and the ``items`` as ``reproduce.json`` says."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def say_estimate(items: Sequence[PaperItem], setting: Setting) -> None:
    """Say on stderr how long what is not made yet of ``items`` may take, where there are several.

    Time grows with the number of photographs, but for items that take none.
    """
    if len(items) < 2:
        return
    to_make = [item for item in items if item.run and not is_finished(item, setting)]
    kept = sum(1 for item in items if item.run) - len(to_make)
    seconds, unknown = estimate(to_make, setting, recorded())
    more = f"; how long {', '.join(unknown)} take is not known" if unknown else ""
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
    >>> record = {"images": 20, "items": [first, second]}
    >>> some = [CATALOG[name] for name in ("lipsim-table1", "lipsim-table2", "hpot-table1")]
    >>> estimate(some, Setting(Path("out"), images=60), record)
    (420.0, ['hpot-table1'])
    """
    took = {
        entry["name"]: entry["seconds"] / (entry.get("images") or record["images"])
        for entry in record["items"]
        if entry["seconds"]
    }
    total, unknown = 0.0, []
    for item in items:
        longer = LONGER.get(setting.autoattack) if item.name in ATTACKED else 1.0
        if item.name not in took or longer is None:
            unknown.append(item.name)
        else:
            total += longer * took[item.name] * setting.images
    return total, unknown
