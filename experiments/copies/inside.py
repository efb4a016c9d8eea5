"""Pictures inside a query, asked beside it: what that finds of AugLy's edits.

    python -m experiments copies.inside --more MORE --work WORK --out docs/results

The ImageNet-Compatible photographs are stored in the set ``exhaustive``. Edits of the first of them
and strangers, photographs of Imagenette, are asked as copies.rules asks them, and then with up to
three pictures found inside each. As in an index each picture that is asked has a quarter of the
rate then; what the strangers and their insets get is counted. Rows that copies.rules keeps in
--work are used. Writes copies-inside.json and .md.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.conditions import conditions, write_result
from experiments.copies.embedded import Picture, by_metric, kept, of_edit, of_files
from experiments.copies.proven_rules import RULES, Certified
from experiments.copies.rivals import PHOTOGRAPHS, Scores, level_at
from experiments.copies.sets import ASKED, PARTNER_STRANGERS, Sets, add_places
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.edit import Edit
from percert.files import write_whole
from percert.images.insets import MOST, find_insets
from percert.metrics.certified.embedding import direction
from percert.reports.table import Column, Table
from percert.search.query.inside import PICTURES

RATES = (1e-4, 1e-5, 1e-6)


class Inside:
    """Scores of what is asked, with the best of its insets where it has any."""

    def __init__(self, sets: Sets) -> None:
        self.sets, self.certified = sets, Certified(sets)

    def rows(self, name: str, picture: Picture, count: int) -> Tensor:
        """Directions ``(n, 1 + MOST, views, k)`` of pictures and their insets, 0 where none is."""
        embed = by_metric(self.sets.metric, ASKED)

        def each(some: Sequence[Tensor]) -> Tensor:
            found = []
            for image in some:
                parts = [image, *(one.cut(image) for one in find_insets(image[0]))]
                h = embed(parts)
                found.append(torch.cat([h, h.new_zeros(1 + MOST - len(h), *h.shape[1:])]))
            return torch.stack(found).flatten(1, 2)

        rows = torch.from_numpy(
            kept(self.sets.work / "inside", name, count, picture, each, half=True).rows
        )
        g = direction(rows.flatten(0, 1), self.sets.metric.constant)
        return g.view(count, 1 + MOST, len(ASKED), -1)

    def best(self, asked: Tensor, own: bool) -> tuple[Scores, Scores]:
        """The best score of the pictures alone, and with their insets: with every photograph, or,
        ``own``, with the one at the same place. Where there is no inset it is 0 at most.
        """
        rule, found = RULES[-1], []
        stored = self.certified.stored[: len(asked)] if own else self.certified.stored
        for a, v in rule.pairs():
            less = rule.weight * self.certified.likeness[: len(stored), v]
            g = asked[:, :, a]
            like = (g * stored[:, None, v]).sum(2) if own else g @ stored[:, v].T
            found.append(like - (less[:, None] if own else less))
        best = torch.stack(found).amax(0)
        return best[:, 0].numpy(), best.amax(1).numpy()


def measure(sets: Sets, edits: Sequence[Edit], count: int, every: int) -> dict[str, Any]:
    """The shares found without and with what is inside, by rate and by edit."""
    inside = Inside(sets)
    files = sets.paths(PARTNER_STRANGERS)[::every]
    strangers = inside.rows(f"strangers-{every}", of_files(files), len(files))
    strangers_best = inside.best(strangers, own=False)
    having = float((strangers[:, 1, 0].norm(dim=1) > 0.5).double().mean())
    paths = sets.paths(PHOTOGRAPHS)
    copies = {
        edit.name: inside.best(
            inside.rows(f"{edit.name}-{count}", of_edit(paths, edit), count), own=True
        )
        for edit in edits
    }
    wholes = inside.certified.stranger_scores(RULES[-1])
    found = []
    for rate in RATES:
        row: dict[str, Any] = {"rate": rate}
        for at, (name, pictures) in enumerate((("alone", 1), ("with insets", PICTURES))):
            level = level_at(wholes, rate / pictures)
            by_edit = {edit: float((two[at] > level).mean()) for edit, two in copies.items()}
            row[name] = {
                "level": level,
                "found": float(np.mean(list(by_edit.values()))),
                "wrong": int((strangers_best[at] > level).sum()),
                "by edit": by_edit,
            }
        row["promised"] = rate * strangers_best[0].size
        found.append(row)
        print(row["rate"], row["alone"]["found"], row["with insets"]["found"], flush=True)
    return {
        "rates": found,
        "photographs": count,
        "stored": len(paths),
        "strangers": len(files),
        "strangers with an inset": having,
    }


def report(result: dict[str, Any]) -> str:
    """The page."""
    last = result["rates"][-1]
    before, after = last["alone"]["by edit"], last["with insets"]["by edit"]
    changed = sorted(
        (name for name in before if abs(after[name] - before[name]) > 0.02 or after[name] < 0.9),
        key=lambda name: before[name],
    )
    rates: list[Column[dict[str, Any]]] = [
        Column("rate", lambda row: row["rate"], ".0e"),
        Column("found", lambda row: row["alone"]["found"], ".3f"),
        Column("found with insets", lambda row: row["with insets"]["found"], ".3f"),
        Column("wrong pairs promised", lambda row: row["promised"], ".3g"),
        Column("counted", lambda row: row["alone"]["wrong"], "d"),
        Column("counted with insets", lambda row: row["with insets"]["wrong"], "d"),
    ]
    edits: list[Column[str]] = [
        Column("edit", str),
        Column("found", lambda name: before[name], ".3f"),
        Column("found with insets", lambda name: after[name], ".3f"),
    ]
    return "\n".join(
        [
            "# Pictures inside a query",
            "",
            f"By `python -m experiments copies.inside` with `{result['metric']}`: "
            f"{result['stored']} photographs in the set `exhaustive`, AugLy's edits of "
            f"{result['photographs']} of them, and {result['strangers']:,} photographs of "
            f"Imagenette that are copies of none, of which {result['strangers with an inset']:.0%} "
            "have a rectangle inside that might be a picture. With insets up to "
            f"{MOST} of these are asked beside each query, at a quarter of the rate each. A rate "
            "is the share of pairs (stranger, photograph) that may be taken for copies.",
            "",
            Table.of(result["rates"], rates).markdown(),
            f"## Edits that this changes, or that are missed, at {last['rate']:.0e}",
            "",
            Table.of(changed, edits).markdown(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_places(parser)
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--edited", type=int, default=60, help="photographs that are edited")
    parser.add_argument("--every", type=int, default=2, help="every so manieth stranger only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sets = Sets(options.data, options.more, options.work, options.metric)
    found = measure(sets, AUGLY_EDITS, options.edited, options.every)
    result = {"benchmark": "copies-inside", "metric": options.metric, **found}
    write_result(options.out / "copies-inside.json", result | {"conditions": vars(conditions(0))})
    write_whole(options.out / "copies-inside.md", report(result))


if __name__ == "__main__":
    main()
