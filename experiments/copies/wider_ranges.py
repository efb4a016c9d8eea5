"""What a margin along the paths of edits is worth: two short trainings, with and without it.

    python -m experiments copies.wider_ranges --data ../shared/data --training data \
        --strangers tiny-imagenet-64/val --out docs/results

Both begin with lipsim-tiny's weights and go on with its recipe, on the pictures of it in
``--training``, for a tenth of its steps, at a low rate, with weights averaged; one has the term
``[paths]`` besides, and all else is the same. Measured on the ImageNet-Compatible photographs,
which neither saw: how far edits are certified, and how many random edits are found, each at the
thresholds that let so many pairs with other pictures in. Writes ``wider-ranges.json`` and ``.md``;
trainings and measurements are kept in ``--work``, and not repeated.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path

import torch
from torch import Generator, Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.copies.training import HARDER, RATES, USUAL
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert import create_metric
from percert.certify import EDITS, edits
from percert.images import Resize
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.metrics.certified.lipsim import LipSimTiny
from percert.metrics.metric import Metric
from percert.reports.table import Column, Table
from percert.training.copies import CopiesRecipe, read_copies_recipe, train_copies
from percert.training.copies.edits import random_edit
from percert.training.copies.paths import PathTerm
from percert.training.copies.pictures import PictureSource, read_pictures
from percert.training.engine import Devices, start_fabric
from percert.training.export import export

#: Whose ranges colours or places bound; the others are certified as far as is looked.
FAMILIES = ("brightness", "contrast", "rotation", "zoom", "crop")
#: A larger margin than the copies', which most plain edits keep already, and on beyond the ends.
TERM = PathTerm(
    weight=1.0, margin=12.0, temperature=1.5, crop=0.65, degrees=25.0, zoom=1.5, tone=3.0
)
#: Of the recipe's steps one in so many is gone on for, of its pictures a step one in so many.
TENTH = 10
#: Pictures that are embedded together.
BATCH = 64


@dataclass(frozen=True)
class Network:
    """One network: by rate its thresholds, and of each kind of random edits the share found.

    ``ranges`` are the medians of the certified range's ends, at the threshold of the last rate.
    """

    name: str
    thresholds: list[float]
    usual: list[float]
    hard: list[float]
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class WiderRanges:
    benchmark: str
    steps: int
    pictures: int
    learning_rate: float
    rates: list[float]
    photographs: int
    ranged: int
    strangers: int
    term: PathTerm
    networks: list[Network]
    conditions: Conditions


def recipes() -> dict[str, CopiesRecipe]:
    """The two trainings."""
    found = read_copies_recipe("lipsim-tiny")
    few = found.schedule.triplets // TENTH
    plain = replace(
        found,
        data=tuple(replace(one, share=one.share // TENTH) for one in found.data),
        schedule=replace(
            found.schedule,
            steps=round(found.schedule.steps / TENTH),
            triplets=few,
            learning_rate=2e-4,
            warmup=20,
            average=0.95,
            log_every=10,
            save_every=5,
        ),
    )
    # The photographs, which come first; not the thumbnails of classes.
    photographs = sum(one.share for one in plain.data if not one.classes)
    return {"without": plain, "with": replace(plain, paths=replace(TERM, pictures=photographs))}


def measure(
    metric: EmbeddingMetric, photographs: Tensor, strangers: Tensor, full: Sequence[Tensor]
) -> tuple[list[float], list[float], list[float], dict[str, tuple[float, float]]]:
    """Thresholds, shares found, and ranges: of squares ``photographs``, and of ``full`` images."""
    side = metric.resolution[0]
    generator = Generator().manual_seed(7)
    # In float32: of shares found nothing is proven.
    metric.float()
    own = _directions(metric, Resize((side, side), "box")(photographs))
    others = _directions(metric, Resize((side, side), "box")(strangers))
    near = (own @ others.T).flatten()
    tops = near.topk(max(1, round(RATES[0] * len(near)))).values
    thresholds = [1 - float(tops[max(1, round(rate * len(near))) - 1]) for rate in RATES]
    shares = []
    for strength in (USUAL, HARDER):
        made = random_edit(
            photographs, photographs.roll(1, 0), photographs.roll(2, 0), strength, generator
        )
        distance = 1 - (own * _directions(metric, made)).sum(1)
        shares.append([float((distance <= tau).double().mean()) for tau in thresholds])
    metric.double()
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in FAMILIES}
    for image in full:
        for name in FAMILIES:
            found = edits(metric, image, image, name, threshold=thresholds[-1])
            unchanged = EDITS[name].unchanged
            low, high = (unchanged if end is None else end for end in (found.low, found.high))
            ends[name].append((low, high))
    medians = {
        name: (statistics.median(a for a, _ in some), statistics.median(b for _, b in some))
        for name, some in ends.items()
    }
    return thresholds, shares[0], shares[1], medians


@torch.no_grad()
def _directions(metric: EmbeddingMetric, images: Tensor) -> Tensor:
    parts = [direction(metric.embed(part), metric.constant) for part in torch.split(images, BATCH)]
    return torch.cat(parts).double()


def report(result: WiderRanges) -> str:
    """The tables, and what was measured."""

    def reaches(family: str) -> Callable[[Network], tuple[float, float]]:
        return lambda one: one.ranges[family]

    def found_at(kind: str, rate: float) -> Callable[[Network], float]:
        return lambda one: float(getattr(one, kind)[result.rates.index(rate)])

    ranges: list[Column[Network]] = [
        Column("network", attrgetter("name")),
        Column("threshold", lambda one: one.thresholds[-1], ".3f"),
        *(Column(family, reaches(family), ".2f") for family in FAMILIES),
    ]
    found: list[Column[Network]] = [
        Column("network", attrgetter("name")),
        *(
            Column(f"{kind}, {rate:g}", found_at(kind, rate), ".3f")
            for kind in ("usual", "hard")
            for rate in result.rates
        ),
    ]
    return "\n".join(
        [
            "# A margin along the paths of edits",
            "",
            f"By `python -m experiments copies.wider_ranges`, {result.conditions.machine}, "
            f"{result.conditions.threads} thread(s). lipsim-tiny, trained further by its own "
            f"recipe for {result.steps} steps, a tenth of those it was made by, of "
            f"{result.pictures} pictures, at a rate of {result.learning_rate:g}, with the term "
            f"`[paths]` (weight {result.term.weight:g}, margin {result.term.margin:g}: plain edits "
            f"drawn from crops to {result.term.crop:g}, {result.term.degrees:g} degrees, zooms to "
            f"{result.term.zoom:g}, tones to {result.term.tone:g}) and without, all else the same. "
            "No weights were adopted.",
            "",
            f"Certified ranges, medians of {result.ranged} ImageNet-Compatible photographs, each "
            "at the network's own threshold, that which lets "
            f"{result.rates[-1]:g} of the pairs with {result.strangers} pictures of Tiny "
            "ImageNet's validation set in:",
            "",
            Table.of(result.networks, ranges).markdown(),
            f"The share of random edits of {result.photographs} photographs that are found where "
            "so many pairs of strangers are let in:",
            "",
            Table.of(result.networks, found).markdown(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    start = options.work / "start"
    if not (start / "config.json").exists():
        export("lipsim-tiny", "safetensors", start)
    pictures = [as_tensor([one]) for one in compatible(options.data, options.limit)]
    base = 2 * LipSimTiny().resolution[0]
    squares = torch.cat([Resize((base, base), "box")(one.double()) for one in pictures]).float()
    source = PictureSource(str(options.strangers.resolve()), side=64, count=options.count)
    strangers = read_pictures(options.data, source, 0, options.work).images.float() / 255
    networks = []
    settings = recipes()
    for name in ("lipsim-tiny", *settings):
        part = options.work / f"{name}-{options.ranged}.json"
        if not part.exists():
            metric: Metric = LipSimTiny()
            if name in settings:
                out = options.work / name
                fabric = start_fabric(Devices("cpu"))
                train_copies(
                    settings[name], options.training, out, fabric, model=start, tensorboard=False
                )
                metric = create_metric(str(out), device="cpu")
            assert isinstance(metric, EmbeddingMetric)
            full = [one.double() for one in pictures[: options.ranged]]
            found = measure(metric, squares.clamp(0, 1), strangers, full)
            label = name if name not in settings else f"trained {name} it"
            write_result(part, asdict(Network(label, *found)))
            print(part.read_text(), flush=True)
        networks.append(Network(**json.loads(part.read_text())))
    recipe = settings["with"]
    result = WiderRanges(
        "wider-ranges",
        recipe.schedule.steps,
        recipe.batch,
        recipe.schedule.learning_rate,
        list(RATES),
        len(pictures),
        options.ranged,
        len(strangers),
        recipe.paths,
        networks,
        conditions(0),
    )
    write_result(options.out / "wider-ranges.json", result)
    (options.out / "wider-ranges.md").write_text(report(result), encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--training", type=Path, required=True, help="of the recipe lipsim-tiny")
    parser.add_argument("--strangers", type=Path, required=True, help="a folder, or parquet files")
    parser.add_argument("--count", type=int, default=4000, help="strangers")
    parser.add_argument("--limit", type=int, default=None, help="photographs whose edits are found")
    parser.add_argument("--ranged", type=int, default=16, help="those whose ranges are certified")
    parser.add_argument("--work", type=Path, default=Path("out/wider-ranges"))
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
