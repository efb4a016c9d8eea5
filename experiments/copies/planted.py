"""Planted copies in a folder: how many each duplicate finder links, how many wrongly, and time.

    python -m experiments copies.planted --pictures tiny-imagenet/val --count 2000 --planted 200 \
        --out docs/results

Of ``--count`` pictures the first ``--planted`` get a copy each, by AugLy's edits in turn, saved as
PNG. An index by ``--metric`` answers ``percert index duplicates`` at its recommended rule, with the
whole image alone, with the usual views and with the most; pHash, dHash and PDQ link what is within
the distance that is usual for them (10 of 64 bits, imagededup's default; 31 of 256, PDQ's), and, to
be fair, within the largest at which they link no more wrong pairs than the index with the most
views. A link is wrong unless it is one of a picture and its planted copy, or of a collage and the
other picture in it: near-duplicates among the pictures count against all alike. Writes
``planted-copies.json`` and ``.md``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from experiments.conditions import Conditions, conditions, write_result
from experiments.detectors import make_metric
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.copy_edits import apply_edit
from percert.evaluation.copies.hashes import dhash, pdq, phash
from percert.images import find_images
from percert.reports.table import Column, Table
from percert.search import open_store
from percert.search.ingest.sources import AddSettings

#: Pictures that are to be looked at.
WANTED = 20_000
#: Sets of views of an index: the least, percert index add's own, and the most.
SETS = ("whole", "standard", "exhaustive")
#: Bits within which each hash calls two pictures the same, as those who use it do.
USUAL_BITS = {"phash": 10, "dhash": 10, "pdq": 31}
HASHES = {"phash": phash, "dhash": dhash, "pdq": pdq}
#: Rows of hashes that are compared with all at once.
AT_ONCE = 1024
Pairs = set[frozenset[Path]]


@dataclass(frozen=True)
class Finder:
    """What one finder linked: ``found`` of the planted copies, ``wrong`` pairs, of which
    ``between`` are of two planted copies (edits that draw the same screen or stripes over both);
    the processor's seconds of both halves, describing all pictures and comparing all pairs.
    """

    name: str
    rule: str
    found: int
    wrong: int
    between: int
    describing: float
    comparing: float
    found_by_edit: dict[str, int]


@dataclass(frozen=True)
class Planted:
    benchmark: str
    metric: str
    pictures: int
    planted: int
    planted_by_edit: dict[str, int]
    finders: list[Finder]
    conditions: Conditions


@dataclass(frozen=True)
class PlantedFiles:
    """The original of each copy, and each copy with the ``other`` picture that is a part of it."""

    original: dict[Path, Path]
    other: frozenset[frozenset[Path]]


def plant(pictures: Sequence[Path], count: int, folder: Path, seed: int = 0) -> PlantedFiles:
    """Save a copy of each of the first ``count`` pictures in ``folder``.

    The copy's name begins with the edit's, and a collage takes the next picture as well.
    """
    made, others = {}, set()
    for place, original in enumerate(pictures[:count]):
        edit = AUGLY_EDITS[place % len(AUGLY_EDITS)]
        image = Image.open(original).convert("RGB")
        pasted = pictures[(place + 1) % len(pictures)]
        other = Image.open(pasted).convert("RGB")
        copy = folder / f"{edit.name} {place:05d}.png"
        apply_edit(edit, image, seed, place, other if edit.needs_other else None).save(copy)
        made[copy] = original
        if edit.needs_other:
            others.add(frozenset((copy, pasted)))
    return PlantedFiles(made, frozenset(others))


def edit_of(copy: Path) -> str:
    """The edit by which :func:`plant` made a copy."""
    return copy.name.rpartition(" ")[0]


def finder(
    name: str, rule: str, pairs: Pairs, made: PlantedFiles, seconds: tuple[float, float]
) -> Finder:
    """What the pairs that were linked are worth."""
    truth = {frozenset(one): edit_of(one[0]) for one in made.original.items()}
    found = [edit for pair, edit in truth.items() if pair in pairs]
    by_edit = {edit: found.count(edit) for edit in dict.fromkeys(truth.values())}
    wrong = pairs - set(truth) - made.other
    between = sum(pair <= set(made.original) for pair in wrong)
    return Finder(name, rule, len(found), len(wrong), between, *seconds, by_edit)


def by_index(metric_name: str, views: str, files: Sequence[Path], made: PlantedFiles) -> Finder:
    """What ``percert index duplicates`` links."""
    metric = make_metric(metric_name, [])
    with tempfile.TemporaryDirectory() as folder:
        began = process_time()
        store = open_store(Path(folder, "store"), metric, views=views)
        outcomes = store.add_files(files, AddSettings(decoders=1))
        if bad := [one for one in outcomes if one.what == "bad"]:
            raise ValueError(f"{bad[0].path}: {bad[0].reason}")
        added = process_time()
        found = store.duplicates()
        seconds = added - began, process_time() - added
        pairs = {
            frozenset((Path(link.first_path), Path(link.second_path)))
            for link in found.links
            if link.first_path is not None and link.second_path is not None
        }
        rule = f"T = {found.rule.threshold:.4f}"
    return finder(f"{metric.name}, {views}", rule, pairs, made, seconds)


def bits_of(name: str, files: Sequence[Path]) -> npt.NDArray[np.float32]:
    """The hash of each file, its bits as -1 and 1."""
    program = HASHES[name]()
    rows = [program.hash([np.asarray(Image.open(path).convert("RGB"))]) for path in files]
    return torch.cat(rows).float().numpy()


def hash_distances(bits: npt.NDArray[np.float32], most: int) -> Iterable[tuple[int, int, int]]:
    """Every pair of rows within ``most`` bits: the smaller row, the larger, how many bits."""
    width = bits.shape[1]
    for start in range(0, len(bits), AT_ONCE):
        apart = (width - bits[start : start + AT_ONCE] @ bits.T) / 2
        for row, column in np.argwhere(apart <= most):
            if start + row < column:
                yield int(start + row), int(column), round(float(apart[row, column]))


def by_hash(name: str, files: Sequence[Path], made: PlantedFiles, most_wrong: int) -> list[Finder]:
    """What a hash links within its usual distance, and with at most ``most_wrong`` wrong pairs."""
    began = process_time()
    bits = bits_of(name, files)
    hashed = process_time()
    usual = USUAL_BITS[name]
    near = {frozenset((files[a], files[b])): d for a, b, d in hash_distances(bits, 2 * usual)}
    seconds = hashed - began, process_time() - hashed

    def within(most: int) -> Finder:
        pairs = {pair for pair, apart in near.items() if apart <= most}
        return finder(name, f"{most} of {bits.shape[1]} bits", pairs, made, seconds)

    fair = [one for one in map(within, range(2 * usual + 1)) if one.wrong <= most_wrong]
    return [within(usual), *fair[-1:]]


def measure(metric: str, pictures: Sequence[Path], planted: int, sets: Sequence[str]) -> Planted:
    """Plant copies and let every finder look for them."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = [one.absolute() for one in pictures]
        made = plant(pictures, planted, Path(folder))
        files = [*pictures, *made.original]
        finders = [by_index(metric, views, files, made) for views in sets]
        most_wrong = finders[-1].wrong
        for name in HASHES:
            finders += by_hash(name, files, made, most_wrong)
        edits = [edit_of(copy) for copy in made.original]
        counts = {edit: edits.count(edit) for edit in dict.fromkeys(edits)}
    return Planted("planted-copies", metric, len(pictures), planted, counts, finders, conditions(0))


def report(result: Planted, folder: str) -> str:
    """The page."""
    columns: list[Column[Finder]] = [
        Column("finder", attrgetter("name")),
        Column("rule", attrgetter("rule"), side="right"),
        Column("found", lambda one: one.found / result.planted, ".3f"),
        Column("wrong links", attrgetter("wrong"), ",d"),
        Column("between copies", attrgetter("between"), ",d"),
        Column("describing, s", attrgetter("describing"), ".1f"),
        Column("comparing, s", attrgetter("comparing"), ".2f"),
    ]

    def found(finder: Finder) -> Callable[[str], int]:
        return lambda edit: finder.found_by_edit[edit]

    by_edit: list[Column[str]] = [
        Column("edit", lambda edit: edit.removeprefix("augly-")),
        Column("planted", lambda edit: result.planted_by_edit[edit], "d"),
        *(Column(f"{one.name}, {one.rule}", found(one), "d") for one in result.finders),
    ]
    own = result.conditions
    return (
        "# Planted copies\n\n"
        f"By `python -m experiments copies.planted` with `{result.metric}`, {own.machine}, "
        f"{own.threads} thread(s). {result.pictures:,} pictures of {folder}, on which nothing was "
        f"trained; {result.planted:,} of them with a copy by one of AugLy's "
        f"{len(result.planted_by_edit)} edits in turn.\n\n"
        f"{Table.of(result.finders, columns).markdown()}\n"
        "The index answers at its recommended rule, one wrong answer in 1,000 queries. Hashes have "
        "two lines: at the distance that is usual for them, and at the largest (up to twice that) "
        "at which they link no more wrong pairs than the index with the most views. pHash and "
        "dHash are those of `imagehash`, which imagededup's are like. imagededup's CNN, whose "
        "weights torchvision loads from elsewhere, and czkawka, which is no Python package, were "
        "not there. A wrong "
        "link is any but that of a picture and its copy (and of a collage and the other picture in "
        "it), so that what is twice among the pictures themselves counts as wrong; some are those "
        "of two planted copies: edits draw the same screen or stripes over both. Seconds are the "
        f"processor's, on a machine that was shared: trust ratios.{_wanted(result)}\n\n"
        "## Found, by edit\n\n"
        f"{Table.of(result.planted_by_edit, by_edit).markdown()}"
    )


def _wanted(result: Planted) -> str:
    """What :data:`WANTED` pictures would take by these seconds, where fewer were looked at."""
    larger = WANTED / result.pictures
    if larger <= 1:
        return ""
    # Both lines of a hash are of one run.
    took = {one.name: (one.describing, one.comparing) for one in result.finders}
    seconds = sum(larger * each + larger**2 * pairs for each, pairs in took.values())
    return (
        f" {WANTED:,} pictures were aimed at; by these seconds they take {seconds / 60:.0f} "
        "minutes of one core (describing grows with the pictures, comparing with their square)."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--set-name", default="Tiny ImageNet's validation set", help="for the page")
    parser.add_argument("--count", type=int, default=WANTED, help="pictures that are looked at")
    parser.add_argument("--planted", type=int, default=1_000, help="how many get a copy")
    parser.add_argument("--metric", default="lipsim-tiny", help="of the index")
    parser.add_argument("--sets", nargs="+", default=SETS, help="sets of views")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    every = find_images(options.pictures)
    pictures = every[:: max(1, len(every) // options.count)][: options.count]
    if len(pictures) < options.planted:
        parser.error(f"--planted {options.planted}: there are {len(pictures)} pictures")
    result = measure(options.metric, pictures, options.planted, options.sets)
    path = options.out / "planted-copies.json"
    write_result(path, result)
    path.with_suffix(".md").write_text(report(result, options.set_name), encoding="utf-8")


def read_result(path: Path) -> Planted:
    """What was written as JSON."""
    told = json.loads(path.read_text("utf-8"))
    told["finders"] = [Finder(**one) for one in told["finders"]]
    return Planted(**{**told, "conditions": Conditions(**told["conditions"])})


if __name__ == "__main__":
    main()
