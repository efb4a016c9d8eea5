"""What more views of the query would find of AugLy's edits, at how many embeddings.

    python -m experiments copies.query_views --more MORE --work WORK --out docs/results

The ImageNet-Compatible photographs are stored in the set ``thorough``; edits of the first of them,
and strangers, are asked in more and more views, every one of which meets all stored views but the
bands. Thresholds are each view's own, at one wrong answer in 100,000 pairs of the strangers with
the same views. The rows that copies.rules keeps in --work are used. Writes
copies-query-views.json and .md.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from experiments.conditions import conditions, write_result
from experiments.copies.embedded import Picture, kept, of_edit, of_files
from experiments.copies.rivals import PHOTOGRAPHS, level_at
from experiments.copies.rules import RULES, Certified
from experiments.copies.sets import ASKED, QUERY_SETS, Sets
from experiments.photographs import DEFAULT_DATA
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.edit import Edit
from percert.files import write_whole
from percert.lipschitz.network import fold
from percert.metrics.certified.embedding import direction
from percert.reports.table import Column, Table
from percert.search.ingest.views import VIEW_SETS, View, find_view

Scores: TypeAlias = Tensor
Cut: TypeAlias = Callable[[Tensor], Tensor]
RATE = 1e-5
#: Views of a query beside the whole and the bands. Each is a selection of pixels, of norm 1.
EXTRA: dict[str, Cut] = {
    "flip": lambda image: image.flip(-2),
    **{f"centre-{keep}": View("", keep / 100) for keep in (70, 60, 50, 40)},
    **{name: find_view(name) for name in VIEW_SETS["standard"][2:]},
}
BANDS = ASKED[1:]
#: What is asked, from less to more: the whole with the bands, as today, and so many views more.
STEPS: dict[str, tuple[str, ...]] = {
    "whole and bands (today)": (),
    "and upside down": ("flip",),
    "and its centre, 4 sizes": ("flip", *(f"centre-{keep}" for keep in (70, 60, 50, 40))),
    "and nine crops of 80 %": tuple(EXTRA),
}


def embed_in(sets: Sets, pictures: Sequence[Tensor]) -> Tensor:
    """Raw embeddings ``(n, views, k)`` in :data:`ASKED` and :data:`EXTRA`, in single precision."""
    network: Any = fold(sets.metric).float().network
    cuts: list[Cut] = [*(find_view(name) for name in ASKED), *EXTRA.values()]
    small = [sets.metric.resize(cut(one), dtype=torch.float32) for one in pictures for cut in cuts]
    with torch.inference_mode():
        h = torch.cat([network(some) for some in torch.split(torch.cat(small), 32)])
    return h.view(len(pictures), len(cuts), -1)


def scores(certified: Certified, asked: Tensor, more: Sequence[str], own: bool) -> Scores:
    """The best score over all pairs of views: of each of ``(n, views, k)`` directions with each
    stored photograph, ``(n, m)``, or, ``own``, with the photograph at its place, ``(n, 1)``.
    """
    rule, found = RULES[-1], []
    extra = [len(ASKED) + list(EXTRA).index(name) for name in more]
    for a, v in rule.pairs():
        stored = certified.stored[:, v] if not own else certified.stored[: len(asked), v]
        less = rule.weight * certified.likeness[: len(stored), v]
        for view in [a] if ASKED[a] in BANDS else [a, *extra]:
            if own:
                found.append(((asked[:, view] * stored).sum(1) - less)[:, None])
            else:
                found.append(asked[:, view] @ stored.T - less)
    return torch.stack(found).amax(0)


def measure(sets: Sets, edits: Sequence[Edit], count: int, every: int) -> dict[str, Any]:
    """The shares found, by step and by edit."""
    certified, paths = Certified(sets), sets.paths(PHOTOGRAPHS)
    embed = partial(embed_in, sets)

    def asked(name: str, pictures: Picture, many: int) -> Tensor:
        rows = kept(sets.work / "query-views", name, many, pictures, embed, half=True).rows
        h = torch.from_numpy(rows)
        flat = direction(h.flatten(0, 1), sets.metric.constant)
        return flat.view(*h.shape[:2], -1)

    files = [path for name in QUERY_SETS for path in sets.paths(name)][::every]
    strangers = asked(f"strangers-{every}", of_files(files), len(files))
    copies = [asked(f"{one.name}-{count}", of_edit(paths, one), count) for one in edits]
    found = []
    for name, more in STEPS.items():
        level = level_at(scores(certified, strangers, more, False).numpy(), RATE)
        by_edit = {
            edit.name: float((scores(certified, rows, more, True) > level).double().mean())
            for edit, rows in zip(edits, copies, strict=True)
        }
        share = sum(by_edit.values()) / len(by_edit)
        found.append({"asked": name, "embeddings": len(ASKED) + len(more), "found": share})
        found[-1] |= {"level": level, "by edit": by_edit}
        print(name, share, flush=True)
    return {"rows": found, "photographs": count, "strangers": len(files), "stored": len(paths)}


def report(result: dict[str, Any]) -> str:
    """The page."""
    first, last = result["rows"][0]["by edit"], result["rows"][-1]["by edit"]
    hard = [name for name in first if min(first[name], last[name]) < 0.95]
    columns: list[Column[dict[str, Any]]] = [
        Column("the query is asked in", lambda row: row["asked"]),
        Column("embeddings", lambda row: row["embeddings"], "d"),
        Column("AugLy found", lambda row: row["found"], ".3f"),
    ]

    def of_step(row: dict[str, Any]) -> Column[str]:
        return Column(row["asked"], lambda name: row["by edit"][name], ".3f")

    by_edit: list[Column[str]] = [Column("edit", str), *map(of_step, result["rows"])]
    return "\n".join(
        [
            "# More views of the query",
            "",
            f"By `python -m experiments copies.query_views` with `{result['metric']}`: "
            f"{result['stored']} photographs in the set `thorough`, AugLy's edits of "
            f"{result['photographs']} of them, and {result['strangers']:,} strangers, at one wrong "
            "answer in 100,000 pairs, counted with the same views: every further view of a query "
            "brings wrong answers of its own, which a stricter threshold has to keep out.",
            "",
            Table.of(result["rows"], columns).markdown(),
            "## The edits that are not all found",
            "",
            Table.of(hard, by_edit).markdown(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What more views of the query would find.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--more", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/copies-rules"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--edited", type=int, default=30, help="photographs that are edited")
    parser.add_argument("--every", type=int, default=20, help="every so manieth stranger only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sets = Sets(options.data, options.more, options.work, options.metric)
    found = measure(sets, AUGLY_EDITS, options.edited, options.every)
    result = {"benchmark": "copies-query-views", "metric": options.metric, **found}
    write_result(
        options.out / "copies-query-views.json", result | {"conditions": vars(conditions(0))}
    )
    write_whole(options.out / "copies-query-views.md", report(result))


if __name__ == "__main__":
    main()
