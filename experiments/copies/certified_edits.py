"""Copies that stay copies over whole ranges of edits: proven, beside what sampling finds.

    python -m experiments copies.certified_edits --data ../shared/data --out docs/results

The first of the 300 ImageNet-Compatible photographs, each its own copy. A range is *found* where
every sampled value of it is a copy, and *certified* where it is proven for all values: the
difference is the price of proof. Seconds are those of the processor, one core, for one pair:
medians and largest. Writes ``certified-edits.json`` and ``.md``; what was measured of each
photograph is kept in ``--work``, and not measured again with these weights.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert import create_metric
from percert.certify import (
    EDITS,
    AllCrops,
    AllShifts,
    AllTurns,
    edited,
    edits,
    edits_everywhere,
)
from percert.certify.editing.regions import EditRegion
from percert.certify.editing.shifts import shifted
from percert.images import round_to_8bit
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance
from percert.reports.table import Column, Table

#: By the card: the recommended one, and the strict one for large collections.
THRESHOLDS = {"lipsim-tiny": (0.68, 0.46), "lipsim-tiny-1": (0.49, 0.22)}
#: Values that are sampled in a range of one parameter, and edits in one of several.
SAMPLES, DRAWN = 41, 200
#: Sampled edits that are embedded together.
BATCH = 16
CROPS, SHIFTS, TURNS = AllCrops(0.9), AllShifts(10), AllTurns()
RANGES = {
    **{name: "{:g} to {:g}".format(*family.standard) for name, family in EDITS.items()},
    "all crops": f"{CROPS.share:g} of each side, anywhere",
    "all shifts": f"{SHIFTS.pixels} px in each direction",
    "rotation with brightness": "-5 to 5 degrees, 0.7 to 1.4",
}


@dataclass(frozen=True)
class Row:
    """One photograph under one edit at one threshold.

    ``seconds`` are those of the processor.
    """

    photograph: int
    edit: str
    threshold: float
    found: bool
    certified: bool
    seconds: float
    evaluations: int
    stopped: str


@dataclass(frozen=True)
class Share:
    """All photographs under one edit at one threshold."""

    edit: str
    range: str
    threshold: float
    photographs: int
    found: float
    certified: float
    of_found: float
    seconds: float
    slowest: float
    evaluations: float
    not_known: float


@dataclass(frozen=True)
class CertifiedEdits:
    benchmark: str
    metric: str
    weights: str
    samples: int
    drawn: int
    shares: list[Share]
    conditions: Conditions


def sampled(metric: EmbeddingMetric, image: Tensor, edit: str, seed: int) -> Tensor:
    """The distances of sampled edits of the ``(1, 3, h, w)`` image from itself."""
    picture = image[0]
    if edit in EDITS:
        low, high = EDITS[edit].standard
        values = torch.linspace(low, high, SAMPLES, dtype=torch.float64)
        values = torch.unique(values.round()) if edit in ("jpeg", "webp") else values
        made = [edited(picture, edit, float(value)) for value in values]
        made = made if edit == "crop" else [round_to_8bit(one) for one in made]
    else:
        made = _drawn(picture, edit, seed)
    with torch.no_grad():
        reference = metric.embed(image)
        embeddings = torch.cat([metric.embed(some) for some in _same_size(made)])
        return cosine_distance(reference.expand_as(embeddings), embeddings, metric.constant)


def _same_size(made: Sequence[Tensor]) -> Iterator[Tensor]:
    """Batches of neighbours of one size."""
    for _, some in groupby(made, key=lambda one: one.shape):
        yield from torch.split(torch.stack(list(some)), BATCH)


def _drawn(picture: Tensor, edit: str, seed: int) -> list[Tensor]:
    """Edits of several parameters: the corners of their region, and others drawn uniformly."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(DRAWN, 4, generator=generator, dtype=torch.float64)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    made = []
    for a, b, c, d in torch.cat([corners, draws]).tolist():
        _, height, width = picture.shape
        if edit == "all crops":
            # Where the box begins, and how much of it is left, along rows and columns.
            rows, columns = int(0.1 * height), int(0.1 * width)
            lost = round(b * rows), round(d * columns)
            top, left = round(a * lost[0]), round(c * lost[1])
            made.append(picture[:, top : height - lost[0] + top, left : width - lost[1] + left])
        elif edit == "all shifts":
            down, across = (SHIFTS.pixels * (2 * share - 1) for share in (a, b))
            made.append(round_to_8bit(shifted(picture, down, across)))
        else:
            (left, right), (dark, bright) = TURNS.degrees, TURNS.brightness
            turned = edited(picture, "rotation", left + a * (right - left))
            made.append(round_to_8bit((dark + b * (bright - dark)) * turned))
    return made


def measure(
    metric: EmbeddingMetric,
    image: Tensor,
    index: int,
    edit: str,
    thresholds: Sequence[float],
) -> list[Row]:
    """One edit of one photograph at all ``thresholds``."""
    image = image.double()
    farthest = float(sampled(metric, image, edit, index).max())
    prove = _of_one if edit in EDITS else _of_many
    return [
        prove(metric, image, index, edit, threshold, farthest <= threshold)
        for threshold in thresholds
    ]


def _of_one(
    metric: EmbeddingMetric,
    image: Tensor,
    index: int,
    edit: str,
    threshold: float,
    found: bool,
) -> Row:
    low, high = EDITS[edit].standard
    began = time.process_time()
    proven = edits(metric, image, image, edit, threshold=threshold, within=(low, high))
    stopped = "budget" if "budget" in (proven.stopped_low, proven.stopped_high) else "answer"
    return Row(
        index,
        edit,
        threshold,
        found,
        proven.holds(low, high),
        time.process_time() - began,
        proven.evaluations,
        "limit" if proven.holds(low, high) else stopped,
    )


def _of_many(
    metric: EmbeddingMetric, image: Tensor, index: int, edit: str, threshold: float, found: bool
) -> Row:
    regions: dict[str, EditRegion] = {
        "all crops": CROPS,
        "all shifts": SHIFTS,
        "rotation with brightness": TURNS,
    }
    began = time.process_time()
    proven = edits_everywhere(metric, image, image, regions[edit], threshold=threshold, seconds=600)
    return Row(
        index,
        edit,
        threshold,
        found,
        proven.proven,
        time.process_time() - began,
        proven.evaluations,
        proven.stopped,
    )


def shares(rows: Sequence[Row]) -> list[Share]:
    """One a threshold and edit."""
    found = []
    for threshold in sorted({row.threshold for row in rows}, reverse=True):
        for edit, range in RANGES.items():
            some = [row for row in rows if (row.edit, row.threshold) == (edit, threshold)]
            if not some:
                continue
            copies = sum(row.found for row in some)
            certified = sum(row.certified for row in some)
            found.append(
                Share(
                    edit,
                    range,
                    threshold,
                    len(some),
                    copies / len(some),
                    certified / len(some),
                    certified / copies if copies else 0.0,
                    statistics.median(row.seconds for row in some),
                    max(row.seconds for row in some),
                    statistics.median(row.evaluations for row in some),
                    sum(row.stopped == "budget" for row in some) / len(some),
                )
            )
    return found


def report(result: CertifiedEdits) -> str:
    """The tables, and what was measured."""
    columns: list[Column[Share]] = [
        Column("edit", attrgetter("edit")),
        Column("range", attrgetter("range"), side="right"),
        Column("photographs", attrgetter("photographs"), "d"),
        Column("found", attrgetter("found"), ".2f"),
        Column("certified", attrgetter("certified"), ".2f"),
        Column("of those found", attrgetter("of_found"), ".3f"),
        Column("seconds", attrgetter("seconds"), ".2f"),
        Column("slowest", attrgetter("slowest"), ".1f"),
        Column("embeddings", attrgetter("evaluations"), ".0f"),
    ]
    parts = [
        "# Certified edits",
        "",
        f"By `python -m experiments copies.certified_edits` with `{result.metric}` (weights "
        f"`{result.weights[:12]}`), {result.conditions.machine}, one core. "
        "ImageNet-Compatible photographs of 299 x 299, none of them trained on, each its own copy.",
        "",
        f"A photograph is *found* where all of {result.samples} values in the range (of several "
        f"parameters: the corners, and {result.drawn} draws) are copies, and *certified* where "
        "that is proven of every value, rounding to 8 bits included: "
        "[how](../concepts/certified-edits.md). Certified of those found is what proof costs. "
        "Seconds are the processor's, the median and the largest; embeddings are medians.",
    ]
    for threshold in sorted({share.threshold for share in result.shares}, reverse=True):
        some = [share for share in result.shares if share.threshold == threshold]
        table = Table.of(some, columns).markdown()
        parts += ["", f"## Copies up to a distance of {threshold:g}", "", table]
    return "\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    images = [as_tensor([photograph]) for photograph in compatible(options.data, options.limit)]
    metric = create_metric(options.metric, device="cpu")
    assert isinstance(metric, EmbeddingMetric)
    weights = weights_hash(metric.network)
    parts = options.work / weights[:12]
    parts.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        for edit in RANGES:
            part = parts / f"{edit.replace(' ', '-')}-{index}.json"
            if not part.exists() and (edit in EDITS or index < options.regions):
                rows = measure(metric, image, index, edit, THRESHOLDS[options.metric])
                write_result(part, {"rows": [asdict(row) for row in rows]})
                print(f"{edit}: {index + 1} of {len(images)}", flush=True)
    found = [
        Row(**row)
        for path in sorted(parts.glob("*.json"))
        for row in json.loads(path.read_text())["rows"]
    ]
    result = CertifiedEdits(
        "certified-edits",
        options.metric,
        weights,
        SAMPLES,
        DRAWN,
        shares(found),
        conditions(0),
    )
    write_result(options.out / "certified-edits.json", result)
    (options.out / "certified-edits.md").write_text(report(result), encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metric", default="lipsim-tiny", choices=list(THRESHOLDS))
    parser.add_argument("--limit", type=int, default=100, help="photographs")
    parser.add_argument("--regions", type=int, default=100, help="those for several parameters")
    parser.add_argument("--work", type=Path, default=Path("out/certified-edits"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
