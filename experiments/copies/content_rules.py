"""Which rule of what a picture must hold would keep drawn pictures apart, and what it costs.

    python -m experiments copies.content_rules --data ../shared/data --train imagenette/train \\
        --out docs/results

``lipsim-tiny`` abstains where a picture holds too little outside of the first directions of drawn
pages (:class:`percert.lipschitz.centre.Content`). Here other directions, of more pages and of other
drawn pictures, and the least content of several parts of a picture; each rule is fitted to drawn
pictures of the seed that the metric's own is fitted to, and judged on those of another: of all
pairs of a kind the share that would be a certified copy, and of photographs the share that would be
undecided. Writes ``content-rules.json`` and ``.md``.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA
from percert.data.plain_pictures import KINDS, PAGES, plain_pictures
from percert.files import write_whole
from percert.images import find_images, load_image
from percert.lipschitz.centre import Content
from percert.lipschitz.network import fold
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.reports.table import Column, Table
from percert.training.student import SEED

#: Pictures of each kind: to fit a rule to, and to judge it on.
FITTED, JUDGED = 48, 40
#: Those that hold something, so that a rule can be fitted to them.
DRAWN = tuple(kind for kind in KINDS if kind != "flat colours")
#: Kinds that rules are fitted to.
FROM: Mapping[str, tuple[str, ...]] = {"pages": tuple(PAGES), "all kinds": DRAWN}


@dataclass(frozen=True)
class ContentRule:
    """So many ``axes`` of the embeddings of ``kinds``; the least content of ``parts`` counts, and
    it must exceed that of every picture of the kinds in ``above``.
    """

    kinds: str
    axes: int
    above: str
    parts: str = "whole"


#: The parts of a picture: itself, and its quarters.
PARTS = {"whole": slice(0, 1), "quarters": slice(1, 5)}
RULES = (
    *(ContentRule("pages", axes, "pages") for axes in (8, 16, 32)),
    *(ContentRule("all kinds", axes, "pages") for axes in (8, 16, 32)),
    *(ContentRule("all kinds", axes, "all kinds") for axes in (16, 32)),
    ContentRule("pages", 8, "pages", "quarters"),
    ContentRule("pages", 32, "pages", "quarters"),
)


@dataclass(frozen=True)
class Judged:
    """``certified`` is by kind the share of pairs, ``lost`` by set the share of photographs."""

    rule: str
    least: float
    certified: dict[str, float]
    lost: dict[str, float]


@dataclass(frozen=True)
class ContentRules:
    benchmark: str
    metric: str
    threshold: float
    photographs: dict[str, int]
    rules: list[Judged]
    conditions: Conditions


def parts_of(image: Tensor) -> list[Tensor]:
    """A picture ``(1, 3, h, w)`` and its quarters."""
    high, wide = (side // 2 for side in image.shape[-2:])
    rows, columns = (slice(high), slice(high, None)), (slice(wide), slice(wide, None))
    return [image, *(image[..., row, column] for row in rows for column in columns)]


def embedded(metric: EmbeddingMetric, images: Sequence[Tensor]) -> Tensor:
    """The raw embeddings of the parts of each picture, ``(n, parts, k)``, in single precision."""
    folded = fold(metric).float()
    network, found = cast(nn.Module, folded.network), []
    with torch.inference_mode():
        for image in images:
            small = [metric.resize(part, dtype=torch.float32) for part in parts_of(image)]
            found.append(network(torch.cat(small)))
    return torch.stack(found)


def held(h: Tensor, axes: Tensor, parts: str) -> Tensor:
    """The least that the ``parts`` of each picture hold outside of ``axes``, ``(n,)``."""
    some = h[:, PARTS[parts]]
    margin = Content(axes, 0.0).margin(some.flatten(0, 1))
    return margin.view(some.shape[:2]).amin(1)


def fitted(rule: ContentRule, drawn: Mapping[str, Tensor]) -> tuple[Tensor, float]:
    """The axes of a rule, and what a picture must hold by it."""
    pictures = torch.cat([drawn[kind][:, PARTS[rule.parts]] for kind in FROM[rule.kinds]])
    _, _, directions = torch.linalg.svd(pictures.flatten(0, 1).double(), full_matrices=False)
    axes = directions[: rule.axes].float()
    above = [float(held(drawn[kind], axes, rule.parts).max()) for kind in FROM[rule.above]]
    return axes, max(above)


def judge(
    name: str,
    axes: Tensor,
    least: float,
    parts: str,
    threshold: float,
    strangers: Mapping[str, Tensor],
    photographs: Mapping[str, Tensor],
) -> Judged:
    """Pairs of strangers that the rule lets through, and photographs that it does not."""
    certified = {}
    for kind, h in strangers.items():
        g = direction(h[:, 0], 0.0)
        first, second = torch.triu_indices(len(h), len(h), 1)
        enough = held(h, axes, parts) > least
        near = (g[first] * g[second]).sum(1) >= 1 - threshold
        certified[kind] = float((near & enough[first] & enough[second]).double().mean())
    lost = {
        name: float((held(h, axes, parts) <= least).double().mean())
        for name, h in photographs.items()
    }
    return Judged(name, least, certified, lost)


def drawn_pictures(kind: str, count: int, seed: int) -> list[Tensor]:
    """Pictures of a kind as ``(1, 3, h, w)`` in [0, 1]."""
    return [
        torch.from_numpy(np.array(one)).permute(2, 0, 1)[None].float() / 255
        for one in plain_pictures(kind, count, seed)
    ]


def report(result: ContentRules) -> str:
    """The page."""
    kinds = [kind for kind in KINDS if any(one.certified[kind] for one in result.rules)]

    def certified(kind: str) -> Column[Judged]:
        return Column(kind, lambda one: one.certified[kind], ".3f")

    def lost(name: str) -> Column[Judged]:
        return Column(f"undecided, {name}", lambda one: one.lost[name], ".4f")

    columns: list[Column[Judged]] = [
        Column("rule", lambda one: one.rule),
        Column("least", lambda one: one.least, ".2f"),
        *map(certified, kinds),
        *map(lost, result.photographs),
    ]
    counts = ", ".join(f"{count} of {name}" for name, count in result.photographs.items())
    return "\n".join(
        [
            "# What a picture must hold",
            "",
            f"By `python -m experiments copies.content_rules` with `{result.metric}`, whole "
            f"pictures up to {result.threshold:g}. {JUDGED} pictures of each kind "
            "([false copies](false-copies.md)), of another seed than those that rules are fitted "
            f"to: the share of their pairs that would be a certified copy. Photographs: {counts}; "
            "the share of which nothing would be certified. Kinds that no rule lets through are "
            "left out. A rule is of so many directions of drawn pages, or of all kinds, outside of "
            "which a picture must hold more than any drawn page, or any drawn picture; of its "
            "quarters, each must.",
            "",
            Table.of(result.rules, columns).markdown(),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--train", type=Path, required=True, help="Imagenette's, to choose on")
    parser.add_argument("--every", type=int, default=40, help="every so manieth of these")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", default="lipsim-tiny")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    metric, threshold = create_metric(options.metric, device="cpu"), metric_card(options.metric)
    assert isinstance(metric, EmbeddingMetric)
    assert threshold.copy_threshold is not None
    sets = {
        "ImageNet-Compatible": find_images(options.data / "imagenet-compatible" / "images"),
        "Imagenette's training set": find_images(options.train)[9 :: options.every],
    }
    photographs = {
        name: embedded(metric, [load_image(path)[None].float() for path in paths])
        for name, paths in sets.items()
    }
    fits = {kind: embedded(metric, drawn_pictures(kind, FITTED, SEED)) for kind in DRAWN}
    strangers = {kind: embedded(metric, drawn_pictures(kind, JUDGED, 0)) for kind in KINDS}
    own = metric.content
    rules = [] if own is None else [("as shipped", own.axes.float(), own.least, "whole")]
    for rule in RULES:
        of = "" if rule.parts == "whole" else f", {rule.parts}"
        name = f"{rule.axes} directions of {rule.kinds}, above all {rule.above}{of}"
        rules.append((name.replace("all all", "all"), *fitted(rule, fits), rule.parts))
    result = ContentRules(
        "content-rules",
        options.metric,
        threshold.copy_threshold,
        {name: len(paths) for name, paths in sets.items()},
        [judge(*rule, threshold.copy_threshold, strangers, photographs) for rule in rules],
        conditions(0),
    )
    write_result(options.out / "content-rules.json", result)
    write_whole(options.out / "content-rules.md", report(result))
    print(report(result))


if __name__ == "__main__":
    main()
