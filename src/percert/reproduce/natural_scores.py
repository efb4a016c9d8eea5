"""Table 4 and Figure 3a of LipSim: many metrics on the same triplets, and some under attack."""

import numpy as np

from percert.evaluation.twoafc_scores import score_twoafc
from percert.reports.page import Figure
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reproduce.item import Compared, Findings, Setting
from percert.reproduce.printed import LIPSIM_TABLE_1, LIPSIM_TABLE_4
from percert.reproduce.stand_ins import Judge, catalog_judge, dreamsim_there, lipsim_there
from percert.reproduce.triplet_runs import find_triplets, judged_rows
from percert.reproduce.twoafc import attack_words, autoattack, under_attack

#: The paper's metrics that percert has, by its names.
KNOWN = {"PSNR": "mse", "SSIM": "ssim", "LPIPS": "lpips-alex", "DISTS": "dists"}
#: Metrics of percert that the paper does not have, and that take no weights.
MORE = ("ms-ssim", "gmsd", "haarpsi", "fsim", "ciede2000", "thumbnail")
#: What Figure 3a attacks, and how far.
ATTACKED = {"SSIM": "ssim", "": "thumbnail"}
EPS = 2.0
GROUPS = {"all": "overall", "imagenet": "ImageNet", "other": "not ImageNet"}
_MADE = (
    "Which of two distorted photographs is closer is known by how they were made, and most metrics "
    "mostly tell it; people's judgements of NIGHT's generated images are a harder question."
)


def table_4(setting: Setting) -> Findings:
    """Natural scores: all triplets, those of ImageNet's classes, the others."""
    triplets = find_triplets(setting, of_imagenet=True)
    rows: list[Compared] = []
    judges = _judges(setting)
    for judge in judges:
        found = {
            entry.name: 100 * entry.natural
            for entry in score_twoafc(judged_rows(setting, judge, triplets, {}), [])
        }
        printed = LIPSIM_TABLE_4.get(judge.paper, (None, None, None))
        rows += [
            Compared(f"{judge.name}: {called}", paper, found.get(group), "%")
            for (group, called), paper in zip(GROUPS.items(), printed, strict=True)
        ]
    measured = {judge.paper for judge in judges}
    rows += [
        Compared(f"{name}: overall", printed[0], None, "%")
        for name, printed in LIPSIM_TABLE_4.items()
        if name not in measured
    ]
    same = triplets.whole and {"LPIPS", "DISTS"} <= measured
    words = [triplets.words, *(judge.words for judge in judges if judge.words)]
    missing = [name for name in KNOWN if name not in measured]
    if missing:
        words.append(f"The weights of {' and '.join(missing)} are not in DATA/weights.")
    words.append("Backbones without a number of ours are not judged here.")
    if not triplets.whole:
        words.append(_MADE)
    return Findings(tuple(rows), tuple(words), same=same and all(j.own for j in judges if j.paper))


def figure_3a(setting: Setting) -> Findings:
    """Natural scores, and those under l2 attack at 2.0, as bars."""
    triplets = find_triplets(setting)
    more = [catalog_judge(name, paper, setting) for paper, name in ATTACKED.items()]
    judges = [lipsim_there(setting), dreamsim_there(setting), *(one for one in more if one)]
    rows: list[Compared] = []
    bars: dict[str, tuple[float, float]] = {}
    for judge in judges:
        scores = under_attack(setting, judge, triplets, autoattack(setting), "l2", (EPS,))
        bars[judge.title] = (100 * scores.natural, 100 * scores.attacked[0].worst)
        natural, attacked = LIPSIM_TABLE_1.get(judge.paper, (None, {}))
        if natural is None and judge.paper in LIPSIM_TABLE_4:
            natural = LIPSIM_TABLE_4[judge.paper][0]
        rows += [
            Compared(f"{judge.name}: natural score", natural, bars[judge.title][0], "%"),
            Compared(
                f"{judge.name}: under attack, l2 {EPS:g}",
                attacked.get(EPS),
                bars[judge.title][1],
                "%",
            ),
        ]
    figure = Figure(
        _bars(bars),
        f"2AFC scores of {len(triplets.items)} triplets, natural (wide, pale) and under l2 attack "
        f"at {EPS:g} on the reference (narrow, dark).",
        "Bars of natural scores and of scores under attack, by metric",
    )
    words = (
        triplets.words,
        *(judge.words for judge in judges if judge.words),
        attack_words(setting),
        "The paper draws bars; the numbers beside them are those of its Tables 1 and 4.",
    )
    own = all(judge.own for judge in judges if judge.paper)
    return Findings(tuple(rows), words, (figure,), same=own and triplets.whole and setting.thorough)


def _judges(setting: Setting) -> list[Judge]:
    known = [catalog_judge(name, paper, setting) for paper, name in KNOWN.items()]
    more = [catalog_judge(name, "", setting) for name in MORE]
    return [
        *(one for one in known if one is not None),
        dreamsim_there(setting),
        lipsim_there(setting),
        *(one for one in more if one is not None),
    ]


def _bars(bars: dict[str, tuple[float, float]]) -> bytes:
    figure, axis = new_figure(7.0, 0.9 + 0.62 * len(bars))
    at = np.arange(len(bars))[::-1]
    natural, attacked = zip(*bars.values(), strict=True)
    axis.barh(at, natural, 0.72, color=COLOURS[0], alpha=0.35, label="natural")
    axis.barh(at, attacked, 0.34, color=COLOURS[1], label=f"under l2 attack at {EPS:g}")
    for place, values in zip(at, bars.values(), strict=True):
        axis.text(values[0] + 1, place + 0.2, f"{values[0]:.0f}", fontsize=8)
        axis.text(values[1] + 1, place - 0.22, f"{values[1]:.0f}", fontsize=8, color=COLOURS[1])
    axis.set_yticks(at, list(bars), parse_math=False)
    axis.set(xlim=(0, 108), xlabel="2AFC score, %")
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
    return figure_png(figure)
