"""Figure 4 of LipSim: the nearest images before and after an attack on the query."""

from typing import Any, cast

from experiments.papers.item import COMMAND, Compared, Findings, Setting, StandIn, stands_of
from experiments.papers.lipsim.judges import lipsim_there
from experiments.papers.networks import Judge, dreamsim_there
from experiments.papers.photographs import collection
from percert.attacks.catalog import parse_attack
from percert.evaluation.copies.detector import Detector, MetricDetector, squeezenet_detector
from percert.evaluation.copies.measure import spread
from percert.evaluation.retrieval import describe_items, keep_retrieval, score
from percert.evaluation.retrieval_report import retrieval_pictures
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.page import Figure
from percert.runs import RunFolder

#: The images of the paper's retrieval set, where they are, and how many it has.
RETRIEVAL, ALL = "retrieval", 500
#: Without them: how many times ``--images`` photographs are searched.
TIMES = 5
EPS, STEPS, SHOWN, SIDE = 2.0, 40, 6, 224


def figure_4(setting: Setting) -> Findings:
    """The share of queries whose nearest image stays, and pictures of some."""
    items, there = collection(setting, RETRIEVAL, ALL)
    published = there == RETRIEVAL
    if not published:
        items = items[: TIMES * setting.images]
    judges = [lipsim_there(setting), dreamsim_there(setting)]
    detectors = [_detector(judge) for judge in judges]
    _, attack = parse_attack(f"pgd:norm=l2,eps={EPS:g},steps={STEPS}")
    folder = setting.out / f"queries-of-{len(items)}"
    settings: dict[str, Any] = {
        "images": sorted(item.name for item in items),
        "judges": {judge.title: weights_hash(judge.metric) for judge in judges},
        "seed": setting.seed,
        "steps": STEPS,
    }
    described = describe_items(detectors, items)
    asked = spread(len(described.items), setting.images)
    found, _ = keep_retrieval(
        RunFolder(
            folder,
            settings,
            command=[*COMMAND, "lipsim-figure4"],
            seed=setting.seed,
            device=setting.device,
        ),
        detectors,
        described,
        asked,
        attack,
        seed=setting.seed,
        progress=lambda _, count, total: setting.watch("searching and attacking", count, total),
    )
    rows_: list[Compared] = []
    for judge, entry in zip(judges, score(found, EPS), strict=True):
        for what, share in (
            ("nearest image unchanged under attack", entry.unchanged),
            ("the same of the 8-bit file", entry.unchanged_8bit),
            (f"proven to stay within l2 {EPS:g}", entry.certified),
        ):
            if share is not None:
                rows_.append(Compared(f"{judge.name}: {what}", None, 100 * share, "%"))
    grids = retrieval_pictures(found, items, folder, SHOWN)
    figures = tuple(
        Figure(
            png,
            f"{name}, from top to bottom: the query, its nearest image, the attacked query as a "
            "file, and the image nearest to that.",
            f"Columns of four pictures, one column a query, by {name}",
        )
        for name, png in grids.items()
    )
    whose = "images of DreamSim's retrieval set" if published else there
    words = (
        *(judge.words for judge in judges if judge.words),
        "Lengths are in the images' own pixels. The paper shows pictures, and counts none.",
    )
    few = StandIn(
        f"{ALL} images of DreamSim's retrieval set", f"{len(asked)} of {len(items)} {whose}"
    )
    steps = StandIn("PGD, in so many steps as it does not say", f"PGD of {STEPS} steps")
    stands = stands_of(
        [judge.stand for judge in judges],
        None if published and len(asked) == ALL else few,
        steps,
    )
    return Findings(tuple(rows_), words, figures, stands)


def _detector(judge: Judge) -> Detector:
    if isinstance(judge.metric, EmbeddingMetric):
        return MetricDetector(judge.metric, judge.title)
    # Any network with an embed(): SqueezeNet's features or DreamSim, at the paper's side.
    return squeezenet_detector(cast(Any, judge.metric), SIDE, judge.title)
