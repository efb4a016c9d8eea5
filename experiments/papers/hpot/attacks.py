"""The attacks of Human Imperceptible Attacks on photographs: which, and how they differ from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.papers.item import Setting
from experiments.papers.networks import catalog_judge, weights_folder
from experiments.papers.photographs import folder_of
from percert.evaluation.attack_runs.distances import measure_distances
from percert.evaluation.attack_runs.read import AttackRuns
from percert.metrics.catalog import metric_card
from percert.runs import RecordedMetric

#: The file of PieAPP's weights.
PIEAPP = "PieAPPv0.1.pth"
#: The attacks of Table 1 by the paper's names, as they are run here.
ATTACKS = {
    "PerC_AL": "perc-al:steps=100",
    "PGD (L2)": "ascent:rescale_steps=0,loss=cross-entropy",
    "NPTM (PPGD)": "ppgd",
    "NPTM (LPA)": "lpa",
    "Human_Perc_OT (a = 0)": "human-perc-ot-literal",
}
#: Human_Perc_OT as it is made to work here, beside them.
OURS = "human-perc-ot"
#: The distances of the paper's tables that take weights: by the paper's name, and percert's.
PERCEPTUAL = {"LPIPS": "lpips-alex", "DISTS": "dists"}
_ALWAYS = (
    "PPGD and LPA keep the attacked network's own features within their bound, AlexNet's in the "
    "work they are from.",
    "PerC-AL runs 100 steps, 1,000 in its own work. The paper says neither how long PGD's steps "
    "are nor when it stops: here it takes l2 steps of 0.1 up to its first success.",
    "Success is that of the image as returned; distances are means over the 8-bit files that "
    "succeed, and there are none where rounding undoes every success. Photographs that are "
    "misclassified to begin with are not attacked.",
)


def attacks_there(setting: Setting, attacks: Mapping[str, str]) -> dict[str, str]:
    """``attacks``, of which Human_Perc_OT has PieAPP as its cost where the weights are there."""
    folder = weights_folder(setting)
    file = None if folder is None else folder / PIEAPP
    if file is None or not file.is_file():
        return dict(attacks)
    cost = f"cost=pieapp,checkpoint={file}"
    return {
        name: f"{spec}{',' if ':' in spec else ':'}{cost}"
        if spec.startswith("human-perc-ot")
        else spec
        for name, spec in attacks.items()
    }


def paper_attacks(setting: Setting) -> dict[str, str]:
    """The attacks of Table 1 by name."""
    return attacks_there(setting, ATTACKS)


def all_attacks(setting: Setting) -> dict[str, str]:
    """The attacks of Table 1 and the corrected one, by name."""
    return attacks_there(setting, {**ATTACKS, f"{OURS}, not in the paper": OURS})


def differs(setting: Setting) -> tuple[str, ...]:
    """How what is run differs from the paper."""
    folder = weights_folder(setting)
    there = [] if folder is None else [path.name for path in folder.iterdir()]
    said = []
    if not any(name.startswith("resnet50") for name in there):
        said.append(
            "squeezenet1_0 is attacked, ResNet-50 in the paper: its weights are not in "
            "DATA/weights."
        )
    if setting.images < 1000:
        said.append(
            f"{setting.images} photographs stand for 1,000: means of few say little. --images "
            "takes more."
        )
    if PIEAPP not in there:
        said.append("Human_Perc_OT's cost is 1 - SSIM, PieAPP in the paper.")
    missing = [
        name for name, metric in PERCEPTUAL.items() if catalog_judge(metric, name, setting) is None
    ]
    if missing:
        said.append(f"No {' and no '.join(missing)}: the weights are not in DATA/weights.")
    return (*said, *_ALWAYS)


def measured_rows(
    setting: Setting, runs: AttackRuns, perceptual: Sequence[str]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The rows of ``runs`` with the distances of ``perceptual``, and those whose weights are there.

    ``perceptual`` are names of :data:`PERCEPTUAL`.
    """
    measures = {}
    for name in perceptual:
        metric = PERCEPTUAL[name]
        judge = catalog_judge(metric, name, setting)
        if judge is not None:
            side = metric_card(metric).smallest_side
            measures[metric] = RecordedMetric(judge.metric, side)
    rows = measure_distances(
        runs.rows,
        folder_of(setting),
        measures,
        setting.out.parent / "measured-photographs",
        progress=lambda done, total: setting.watch("measuring photographs", done, total),
    )
    return rows, tuple(measures)


def named_rows(
    rows: Sequence[Mapping[str, Any]], attacks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """``rows`` whose attacks are called as the paper calls them."""
    names = {spec: name for name, spec in attacks.items()}
    return [{**row, "attack": names.get(row["attack"], row["attack"])} for row in rows]
