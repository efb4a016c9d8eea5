"""The attacks of Human Imperceptible Attacks and ours on the paper's photographs, measured.

    python -m experiments papers.hpot.on_photographs --data DATA --runs out/hpot \\
        --out docs/results --quick 300 --slower 300 --slowest 300 --weighed 300

Attacks are run on the first so many photographs of the ImageNet-Compatible set, by kind: the quick
ones, the slower ones, PerC-AL with all its 1,000 steps, and Human_Perc_OT with three weights of a
cost; so many clean ones tell detectors what is usual. A run that was stopped goes on, and one of
more photographs goes on with one of fewer. Then the files are measured and looked at by defences,
detectors and saliency, and the page is written.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.conditions import conditions, write_result
from experiments.papers.hpot.attacks import named_rows
from experiments.papers.hpot.detection import detected, squeezed_scores
from experiments.papers.hpot.page import page
from experiments.papers.hpot.rivals import (
    LITERAL,
    QUICK,
    SLOWER,
    SLOWEST,
    WEIGHED,
    Counts,
    attack_all,
)
from experiments.papers.item import Setting
from experiments.papers.photographs import classifier_there, folder_of, photographs
from percert.evaluation.attack_runs.compare import number_attacks, ratios_to
from percert.evaluation.attack_runs.defences import defended_predictions, survivals
from percert.evaluation.attack_runs.distances import CLEAN, Row, measure_distances
from percert.evaluation.attack_runs.saliency import (
    DISTANCES,
    WEIGHTLESS,
    create_saliency,
    saliency_distances,
)
from percert.files import write_whole
from percert.lipschitz.network import weights_hash
from percert.metrics.deep.lpips import LPIPS
from percert.reports.attack_plots import boxes_and_cumulative
from percert.runs import RecordedMetric
from percert.tensors import Images

#: Measured on the photographs that all but the slowest attacks were run on.
LPIPS_NETS = ("alex", "vgg")
MEASURED = ("l1", "l2", "linf", "ssim", "seen")
DEFENCES = ("jpeg-75", "bits-5", "bits-4")
#: Looked at through VGG, of which one image takes more than a second.
MAIN = (
    "PGD (L2), least multiple as a file",
    "PGD (L2), truncated to 8 bits in each step",
    LITERAL.format(0),
    LITERAL.format(1),
    LITERAL.format(5),
    "PerC_AL (100 steps)",
    "NPTM (PPGD), AlexNet",
    "NPTM (LPA), AlexNet",
    "human-perc-ot",
    "ssim-sqp",
    "ssim-sqp, cost=seen",
    *SLOWEST,
)


class OneReference(nn.Module):
    """LPIPS of one original and many others, whose features are computed once; two at a time."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.metric = LPIPS(net, shift_tolerant=True)

    def forward(self, reference: Images, candidate: Images) -> Tensor:
        wanted = self.metric.features(reference[:1])
        some = torch.split(candidate, 2)
        return torch.cat([self.metric.from_features(wanted, images) for images in some])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", type=int, default=300)
    parser.add_argument("--slower", type=int, default=300)
    parser.add_argument("--slowest", type=int, default=300)
    parser.add_argument("--weighed", type=int, default=300)
    parser.add_argument("--clean", type=int, default=300)
    options = parser.parse_args()
    counts = Counts(options.quick, options.slower, options.slowest, options.weighed, options.clean)
    result = measured(Setting(options.runs / "item", options.data, watch=_say), counts)
    write_page(result, options.out)


def measured(setting: Setting, counts: Counts) -> dict[str, Any]:
    """Everything that the page says, as plain values, and the samples that its figures draw."""
    runs = attack_all(setting, counts)
    names = {**QUICK, **SLOWER, **SLOWEST}
    order = [item.name for item in photographs(replace(setting, images=counts.most))]
    rows = _of(runs.rows, names.values(), order)
    prefix = _of(rows, names.values(), order[: counts.slower])
    work, originals = setting.out.parent / "measured", folder_of(setting)
    judged = _judged(prefix, originals, work)
    distances = (*MEASURED, *(f"st-lpips-{net}" for net in LPIPS_NETS))
    shared = named_rows(_of(judged, [*QUICK.values(), *SLOWER.values()], order), names)
    few = named_rows(_of(judged, names.values(), order[: counts.slowest]), names)
    quick = named_rows(_of(rows, QUICK.values(), order), names)
    model, network = classifier_there(setting)
    # Labels of this set count from 1.
    clean = [
        replace(item, label=(item.label or 0) - 1)
        for item in photographs(replace(setting, images=counts.clean))
    ]
    digest = weights_hash(model)
    survived = survivals(
        shared,
        defended_predictions(
            shared, originals, model, digest, DEFENCES, work / "defended", progress=_watch("defend")
        ),
        DEFENCES,
    )
    scores = squeezed_scores(
        [*quick, *named_rows(_of(rows, SLOWER.values(), order), names)],
        originals,
        model,
        digest,
        work / "squeezed",
        clean,
        progress=_watch("squeeze"),
    )
    maps = saliency_distances(
        shared,
        originals,
        {name: create_saliency(name) for name in WEIGHTLESS},
        work / "maps",
        progress=_watch("maps"),
    )
    weights = {spec: name for name, spec in WEIGHED.items()}
    weighed = [
        {**row, "attack": weights[row["attack"]]}
        for row in _of(runs.rows, weights, order[: counts.weighed])
    ]
    right = len({image for attack, image, _ in scores if attack == CLEAN})
    base = LITERAL.format(0)
    return {
        "conditions": asdict(conditions(seed=setting.seed)),
        "network": network,
        "counts": asdict(counts),
        "right": {"images": len(clean), "share": right / len(clean)},
        "table_1": _numbers(shared, distances),
        "ratios": ratios_to(base, shared, distances),
        "slowest": _numbers(few, distances),
        "all_quick": _numbers(quick, MEASURED),
        "returned": _returned(shared),
        "table_2": {name: _numbers(some, DISTANCES) for name, some in maps.items()},
        "table_3": _numbers(weighed, MEASURED),
        "figure_7": [entry.answer() for entry in survived],
        "detection": [asdict(entry) for entry in detected(scores)],
        "samples": {
            distance: {
                entry.attack: _values(shared, entry.attack, distance)
                for entry in number_attacks(shared, ())
            }
            for distance in ("st-lpips-alex", "ssim", "seen")
        },
    }


def _of(rows: Sequence[Row], attacks: Any, images: Sequence[str]) -> list[dict[str, Any]]:
    places, wanted = {name: place for place, name in enumerate(attacks)}, set(images)
    some = [dict(r) for r in rows if r["attack"] in places and r["image"] in wanted]
    return sorted(some, key=lambda row: (places[row["attack"]], row["image"]))


def _judged(rows: Sequence[Row], originals: Path, work: Path) -> list[dict[str, Any]]:
    """The rows with ST-LPIPS; over VGG of the main attacks alone."""
    names = {**QUICK, **SLOWER, **SLOWEST}
    main_specs = {spec for name, spec in names.items() if name in MAIN}
    found = measure_distances(
        rows,
        originals,
        {"st-lpips-alex": RecordedMetric(OneReference("alex"))},
        work / "alex",
        progress=_watch("ST-LPIPS, AlexNet"),
    )
    by_vgg = measure_distances(
        [row for row in found if row["attack"] in main_specs],
        originals,
        {"st-lpips-vgg": RecordedMetric(OneReference("vgg"))},
        work / "vgg",
        progress=_watch("ST-LPIPS, VGG"),
    )
    told = {(row["attack"], row["image"]): row["st-lpips-vgg"] for row in by_vgg}
    return [{**row, "st-lpips-vgg": told.get((row["attack"], row["image"]))} for row in found]


def _numbers(rows: Sequence[Row], distances: Sequence[str]) -> list[dict[str, Any]]:
    """One entry an attack: counts, success, and means (and medians) over the files that succeed."""
    return [
        {
            "attack": entry.attack,
            "images": entry.attacked,
            "success": entry.success,
            "success_8bit": entry.success_8bit,
            "mean": {name: entry.mean(name) for name in distances},
            "median": {name: entry.median(name) for name in distances},
            "cpu_seconds": entry.effort["cpu_seconds"],
            "model_calls": entry.effort["model_calls"],
        }
        for entry in number_attacks(rows, distances)
    ]


def _returned(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of every attack the lengths before rounding, over what succeeds then, and as files."""
    found = []
    for entry in number_attacks(rows, ()):
        mine = [row for row in rows if row["attack"] == entry.attack and row["attacked"]]
        won = [row for row in mine if row["success"]]
        kept = [row for row in mine if row["success_8bit"]]
        found.append(
            {
                "attack": entry.attack,
                "images": len(mine),
                "success": entry.success,
                "success_8bit": entry.success_8bit,
                "returned": {name: _mean(won, f"{name}_returned") for name in ("l1", "l2", "linf")},
                "file": {name: _mean(kept, name) for name in ("l1", "l2", "linf")},
            }
        )
    return found


def _mean(rows: Sequence[Row], name: str) -> float | None:
    return fmean(row[name] for row in rows) if rows else None


def _values(rows: Sequence[Row], attack: str, distance: str) -> list[float]:
    return [
        row[distance]
        for row in rows
        if row["attack"] == attack and row["success_8bit"] and row[distance] is not None
    ]


#: The paper's five, PGD as files hold it, and ours.
DRAWN = (
    "PGD (L2), least multiple as a file",
    "PGD (L2), truncated to 8 bits in each step",
    "PerC_AL (100 steps)",
    "NPTM (PPGD), AlexNet",
    "NPTM (LPA), AlexNet",
    *(LITERAL.format(a) for a in (0, 1, 5)),
    "human-perc-ot",
    "ssim-sqp",
)
#: What each figure draws, and what its axis says.
FIGURES = {
    "st-lpips-alex": "ST-LPIPS (AlexNet)",
    "ssim": "1 - SSIM",
    "seen": "share of observers who would notice",
}


def write_page(result: Mapping[str, Any], out: Path) -> None:
    """``human-perc-ot.md`` with its numbers beside it, and a figure for each distance."""
    out.mkdir(parents=True, exist_ok=True)
    tried = {entry["attack"]: entry["images"] for entry in result["table_1"]}
    for name, label in FIGURES.items():
        samples = {
            attack: np.array(values, dtype=np.float64)
            for attack, values in result["samples"][name].items()
            if values
        }
        png = boxes_and_cumulative(
            {attack: samples[attack] for attack in DRAWN if attack in samples},
            tried,
            value_label=label,
        )
        write_whole(out / f"human-perc-ot-{name}.png", png)
    write_result(out / "human-perc-ot.json", dict(result))
    write_whole(out / "human-perc-ot.md", page(result).encode())


def _watch(what: str) -> Any:
    return lambda done, total: _say(what, done, total)


def _say(what: str, done: int, total: int) -> None:
    print(f"{what}: {done} of {total}", flush=True)


if __name__ == "__main__":
    main()
