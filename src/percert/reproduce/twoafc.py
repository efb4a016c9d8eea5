"""Tables 1 to 3 of LipSim on triplets of distorted photographs, or on NIGHT where it is there."""

from collections.abc import Mapping

from percert.data.night import night_triplets
from percert.data.triplet import Triplet, distortion_triplets
from percert.evaluation.twoafc import TwoAFCRun, evaluate_twoafc
from percert.evaluation.twoafc_attacks import PlannedAttack, plan_attacks
from percert.evaluation.twoafc_scores import TwoAFCScores, score_twoafc
from percert.metrics.catalog import create_metric
from percert.reproduce.item import Compared, Findings, Setting, data_folder
from percert.reproduce.printed import LIPSIM_TABLE_1, LIPSIM_TABLE_2, LIPSIM_TABLE_3

METRIC = "lipsim-tiny"
#: The paper's network, taken where its weights lie in the data folder under this name.
PAPERS_OWN = "lipsim-small"
#: For every photograph, so many triplets of different distortions.
KINDS = ("jpeg", "blur", "noise")
#: The certified radii of Table 2, in levels of 255.
LEVELS = tuple(LIPSIM_TABLE_2[1])
#: Table 2's setting in full: what lipsim-tiny is measured beside.
_NAME = "LipSim"


def table_1(setting: Setting) -> Findings:
    """The score under l2 attacks on the reference."""
    natural, attacked = LIPSIM_TABLE_1["LipSim"]
    attacks = plan_attacks(["apgd-ce:steps=20", "apgd-margin:steps=20"], l2=tuple(attacked))
    scores, where, _ = _scores(setting, attacks)
    rows = [_natural(natural, scores)]
    worst = {entry.eps: entry for entry in scores.attacked}
    for eps, paper in attacked.items():
        rows.append(
            Compared(f"{_NAME} under attack, l2 {eps:g}", paper, 100 * worst[eps].worst, "%")
        )
        rows.append(_proven(f"proven, l2 {eps:g}", worst[eps].certified))
    rows += [
        Compared(f"{name} under attack, l2 {eps:g}", paper, None, "%")
        for name, (_, found) in LIPSIM_TABLE_1.items()
        if name != "LipSim"
        for eps, paper in found.items()
    ]
    return Findings(tuple(rows), (*where, *_attack_words()))


def table_2(setting: Setting) -> Findings:
    """The certified scores, by the paper's radius and by ours."""
    natural, certified = LIPSIM_TABLE_2
    scores, where, same = _scores(setting, {})
    rows = [_natural(natural, scores)]
    for level, entry in zip(certified, scores.certified, strict=True):
        paper = None if entry.paper is None else 100 * entry.paper
        rows.append(Compared(f"certified by Eq. 8, {level}/255", certified[level], paper, "%"))
        rows.append(_proven(f"certified by the exact radius, {level}/255", entry.ours))
    return Findings(tuple(rows), where, same=same)


def table_3(setting: Setting) -> Findings:
    """The score under linf attacks on the reference."""
    natural, autoattack, pgd = LIPSIM_TABLE_3
    attacks = plan_attacks(
        ["apgd-ce:steps=20", "apgd-margin:steps=20", "pgd:steps=20"], linf=tuple(autoattack)
    )
    scores, where, _ = _scores(setting, attacks)
    rows = [_natural(natural, scores)]
    for entry in scores.attacked:
        alone = [score for name, score in entry.by_attack.items() if name.startswith("pgd")]
        strong = [score for name, score in entry.by_attack.items() if name.startswith("apgd")]
        rows += [
            Compared(
                f"{_NAME} under Auto-PGD, linf {entry.eps:g}",
                autoattack[entry.eps],
                100 * min(strong),
                "%",
            ),
            Compared(f"{_NAME} under PGD, linf {entry.eps:g}", pgd[entry.eps], 100 * alone[0], "%"),
        ]
    return Findings(tuple(rows), (*where, *_attack_words()))


def _natural(paper: float, scores: TwoAFCScores) -> Compared:
    return Compared(f"{_NAME}, natural score", paper, 100 * scores.natural, "%")


def _proven(what: str, share: float | None) -> Compared:
    return Compared(what, None, None if share is None else 100 * share, "%")


def _scores(
    setting: Setting, attacks: Mapping[str, PlannedAttack]
) -> tuple[TwoAFCScores, tuple[str, ...], bool]:
    """The scores, what differs from the paper, and whether it is its data and weights."""
    triplets, data, whole = _triplets(setting)
    weights = [] if setting.data is None else sorted(setting.data.glob(f"{PAPERS_OWN}.*"))
    run = TwoAFCRun(
        metric=create_metric(PAPERS_OWN, checkpoint=weights[0], device=setting.device)
        if weights
        else create_metric(METRIC, device=setting.device),
        attacks=attacks,
        size=(224, 224),
        batch_size=8,
        seed=setting.seed,
        device=setting.device,
    )
    rows = []
    for step in evaluate_twoafc(run, triplets):
        if step.bad is not None:
            raise ValueError(f"{step.bad}: {step.reason}")
        rows += step.rows
    scores = score_twoafc(rows, [level / 255 for level in LEVELS])[0]
    network = (
        f"{PAPERS_OWN} with the weights in {weights[0].name}."
        if weights
        else f"{METRIC}, which comes with percert, stands for the authors' network: their weights "
        "are not here. It was never trained on people's judgements."
    )
    words = (f"{scores.triplets} triplets: {data}.", network)
    return scores, words, bool(weights) and whole


def _triplets(setting: Setting) -> tuple[list[Triplet], str, bool]:
    """Triplets, what they are, and whether they are the paper's, all of them."""
    if setting.data is not None and (setting.data / "night").is_dir():
        found = list(night_triplets(setting.data / "night"))
        some = found[: setting.images * len(KINDS)]
        whole = len(some) == len(found)
        which = "all" if whole else "the first ones (--images takes more)"
        return some, f"{which} of NIGHT's test set", whole
    folder = data_folder(setting, "imagenet-compatible", "photographs") / "images"
    made = distortion_triplets(folder, distortions=KINDS, seed=setting.seed)
    words = (
        f"photographs under {', '.join(KINDS)}, the less distorted one being the closer; NIGHT, "
        "with people's judgements, is not here"
    )
    return [triplet for triplet in made if triplet.index < setting.images], words, False


def _attack_words() -> tuple[str, ...]:
    return (
        "Under attack: Auto-PGD with cross-entropy and with the margin, 20 steps each, of a "
        "triplet the worst; AutoAttack adds FAB and Square (percert eval twoafc --attack aa).",
    )
