"""Tables 2 and 4 of LipSim: scores on triplets as they are, natural and certified."""

from collections.abc import Iterable, Sequence

from experiments.papers.item import Compared, Findings, Setting, StandIn, stands_of
from experiments.papers.lipsim.judges import MAIN, lipsim_models, natural_judges
from experiments.papers.lipsim.triplets import Triplets, find_triplets, judged_rows
from experiments.papers.networks import Judge
from experiments.papers.printed import LIPSIM_TABLE_2, LIPSIM_TABLE_4
from percert.evaluation.twoafc.scores import score_twoafc

#: The certified radii of Table 2, in levels of 255.
LEVELS = tuple(LIPSIM_TABLE_2[MAIN][1])
#: Metrics of percert that the paper does not have, and that take no weights.
MORE = ("ms-ssim", "gmsd", "haarpsi", "fsim", "ciede2000", "thumbnail")
#: The LipSim whose natural scores are in Table 4, by those of Table 2; it does not say the margin.
IN_TABLE_4 = "LipSim of DreamSim, margin 0.2"
GROUPS = {"all": "overall", "imagenet": "ImageNet", "other": "not ImageNet"}
_MADE = (
    "Which of two distorted photographs is closer is known by how they were made, and most metrics "
    "mostly tell it; people's judgements of NIGHT's generated images are a harder question."
)


def table_2(setting: Setting) -> Findings:
    """LipSim's certified scores by teacher and training, by the paper's radius and by ours."""
    triplets, judges = find_triplets(setting), lipsim_models(setting, MAIN)
    rows: list[Compared] = []
    for judge in judges:
        natural, certified = LIPSIM_TABLE_2[judge.paper]
        own = judge.own and triplets.whole
        (scores, *_) = score_twoafc(
            judged_rows(setting, judge, triplets, {}), [level / 255 for level in LEVELS]
        )
        rows.append(
            Compared(f"{judge.name}: natural score", natural, 100 * scores.natural, "%", own)
        )
        for level, entry in zip(certified, scores.certified, strict=True):
            paper = None if entry.paper is None else 100 * entry.paper
            ours = None if entry.ours is None else 100 * entry.ours
            what = f"{judge.name}: certified by Eq. 8, {level}/255"
            rows.append(Compared(what, certified[level], paper, "%", own))
            what = f"{judge.name}: certified by the exact radius, {level}/255"
            rows.append(Compared(what, None, ours, "%"))
    missing = missing_of(LIPSIM_TABLE_2, judges)
    for name in missing:
        natural, certified = LIPSIM_TABLE_2[name]
        rows.append(Compared(f"{name}: natural score", natural, None, "%"))
        rows += [
            Compared(f"{name}: certified by Eq. 8, {level}/255", score, None, "%")
            for level, score in certified.items()
        ]
    words = (
        *(judge.words for judge in judges if judge.words),
        "The exact radius is not the paper's: it is longer.",
        "Nobody can tell which constant made the paper's table: the authors' code appends 1 to the "
        "embedding, and in November 2023 added 2/sqrt(k) to each of its k values. Here 1 is "
        "appended.",
    )
    return Findings(tuple(rows), words, stands=judged_stands(triplets, judges, missing))


def table_4(setting: Setting) -> Findings:
    """Natural scores: all triplets, those of ImageNet's classes, the others."""
    triplets = find_triplets(setting, of_imagenet=True)
    rows: list[Compared] = []
    judges = natural_judges(setting, IN_TABLE_4, MORE)
    for judge in judges:
        found = {
            entry.name: 100 * entry.natural
            for entry in score_twoafc(judged_rows(setting, judge, triplets, {}), [])
        }
        printed = LIPSIM_TABLE_4.get(judge.paper, (None, None, None))
        own = judge.own and triplets.whole
        rows += [
            Compared(f"{judge.name}: {called}", paper, found.get(group), "%", own)
            for (group, called), paper in zip(GROUPS.items(), printed, strict=True)
        ]
    missing = missing_of(LIPSIM_TABLE_4, judges)
    rows += [
        Compared(f"{name}: {called}", paper, None, "%")
        for name in missing
        for called, paper in zip(GROUPS.values(), LIPSIM_TABLE_4[name], strict=True)
    ]
    words = [judge.words for judge in judges if judge.words]
    words.append(
        "The table does not say LipSim's margin. Its natural scores with DINO and DreamSim as "
        "teachers are those of margin 0.2 in Table 2, that with OpenCLIP, 84.10, is in no row of "
        "it."
    )
    if not triplets.whole:
        words.append(_MADE)
    return Findings(tuple(rows), tuple(words), stands=judged_stands(triplets, judges, missing))


def missing_of(printed: Iterable[str], judges: Sequence[Judge]) -> list[str]:
    """The rows of the paper of which nothing was measured."""
    measured = {judge.paper for judge in judges}
    return [name for name in printed if name not in measured]


def judged_stands(
    triplets: Triplets,
    judges: Sequence[Judge],
    missing: Sequence[str],
    *more: StandIn | None,
) -> tuple[StandIn, ...]:
    """What of the paper's was not there: triplets, the metrics that it has, and ``more``."""
    nothing = (
        [StandIn(", ".join(missing), "nothing: the weights are not in DATA/weights")]
        if missing
        else []
    )
    judged = [judge.stand for judge in judges if judge.paper]
    return stands_of(triplets.stand, judged, nothing, *more)
