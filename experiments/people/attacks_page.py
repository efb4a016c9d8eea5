"""The page of attacks judged by people: what was asked, what came out, and a table a question."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from textwrap import fill
from typing import Any, TypeAlias

from experiments.people.attacks_report import BESIDE, OURS, STATISTICS, VISIBLE
from percert.reports.table import Column, Table, percent

Entry: TypeAlias = Mapping[str, Any]
#: Of every model and setting its attacks by name.
Runs: TypeAlias = Mapping[str, Mapping[str, Entry]]
#: The rivals whose changes are the shortest.
SHORTEST = ("ddn:steps=40", "fmn:steps=40")
#: Rivals that spend a bound, or miss where a goal is far: easily outdone, and counted apart.
FAR_OFF = ("lpa", "ppgd", "alma")
#: The attack that lowers MDSI itself, and ours by another cost.
OF_MDSI, OF_SEEN = "human-perc-ot:cost=mdsi", f"{OURS}:cost=seen"
#: The one model and setting that is robust.
ROBUST = "lipsim-tiny-own-copies"
#: The aim: ours over a rival's share, and over the baseline's MDSI.
HALF = 0.5


def page(found: Mapping[str, Any]) -> str:
    """What was asked and what came out in words, a table a question, and one of each setting."""
    runs = {
        name: {one["attack"]: one for one in entries} for name, entries in found["runs"].items()
    }
    out = fill("**What came out.** " + " ".join(_came_out(runs)), 100, break_on_hyphens=False)
    parts = [ASKED, f"{out}\n\n", READ]
    for question, answer, table in (
        ("Would anybody notice?", NOTICED_BY, _noticed(runs)),
        (
            f"Is `{OURS}` noticed by half as many as each rival at most?",
            RATIOS + _missed(runs, found.get("proven_l2")),
            _over(runs),
        ),
        ("Is MDSI at most half of the baseline's?", MDSI, _beside(runs)),
    ):
        parts.append(f"## {question}\n\n{answer}\n{table}\n")
    parts.append("## Each setting by itself\n")
    for name, by in runs.items():
        parts.append(f"\n### {name}\n\n{Table.of(list(by.values()), COLUMNS).markdown()}")
    return "".join(parts)


def _came_out(runs: Runs) -> list[str]:
    said = [_success({name: by[OURS] for name, by in runs.items() if OURS in by})]
    shares = {name: by[OURS]["noticed"]["value"] for name, by in runs.items() if _wins(by)}
    few = [share for share in shares.values() if share < VISIBLE]
    if few:
        said.append(
            f"It would be noticed by fewer than one in a hundred in {len(few)} of "
            f"{len(shares)} settings, by {_percents(max(few))} % at most."
        )
    seen = _ratios(runs, seen=True)
    if seen:
        half = sum(value <= HALF for *_, value in seen)
        fewer = sum(HALF < value < 1 for *_, value in seen)
        more = [f"`{rival}` ({name}, {value:.2f})" for name, rival, value in seen if value >= 1]
        near = [value for _, rival, value in seen if rival not in FAR_OFF]
        near_half = sum(value <= HALF for value in near)
        said.append(
            "Beside a rival, where either is noticed by one in a hundred, it is noticed by half as "
            f"many at most, which is the aim, in {half} of {len(seen)} comparisons ({near_half} of "
            f"{len(near)} without LPA, PPGD and ALMA, which show far more), by fewer in {fewer} "
            f"more, and by more in {len(more)}" + (f": than {', '.join(more)}." if more else ".")
        )
    short = [value for _, rival, value in _ratios(runs, seen=False) if rival in SHORTEST]
    if short:
        said.append(
            "Where neither is, the judge goes by the length of a change, which DDN and FMN make "
            f"least: `{OURS}` has {min(short):.2f} to {max(short):.2f} times their share, and "
            f"loses to them in {sum(value > 1 for value in short)} of {len(short)} comparisons."
        )
    of_costs = [
        by[OF_SEEN]["ours_over_it"]["judge"]["value"]
        for by in runs.values()
        if by.get(OF_SEEN, {}).get("ours_over_it") is not None
    ]
    if of_costs:
        said.append(
            f"By the judge its default cost is noticed by fewer than `cost=seen` in "
            f"{sum(value < 1 for value in of_costs)} of {len(of_costs)} settings, on the "
            "photographs on which both succeed, which is why it is the default."
        )
    mdsi = [
        by[OURS]["beside_baseline"]["mdsi"]["ratio of means"]["value"]
        for by in runs.values()
        if _wins(by) and by[OURS]["beside_baseline"] is not None
    ]
    if mdsi:
        verdict = "missed" if max(mdsi) > HALF else "met"
        said.append(
            f"Its MDSI is at {min(mdsi):.2f} to {max(mdsi):.2f} of the baseline's: the aim of a "
            f"half is {verdict}."
        )
    return said


def _success(ours: Mapping[str, Entry]) -> str:
    """On how many photographs of each setting ours succeeds; where not on all, it is named."""
    counts = [one["images"] for one in ours.values()]
    misses = [
        f"{percent(one['success_8bit'], 0)} in {name}"
        for name, one in ours.items()
        if one["success_8bit"] < 1
    ]
    return (
        f"On {min(counts)} to {max(counts)} photographs a setting, `{OURS}` succeeds on "
        + (f"all in {len(ours) - len(misses)} of {len(ours)} settings" if misses else "all")
        + (f", and on {', '.join(misses)}." if misses else ", which is the aim.")
    )


def _wins(by: Mapping[str, Entry]) -> bool:
    return OURS in by and by[OURS]["noticed"] is not None


def _ratios(runs: Runs, *, seen: bool) -> list[tuple[str, str, float]]:
    """Setting, rival and our share over its, where either is noticed by some, or where neither."""
    return [
        (name, rival, one["ours_over_it"]["judge"]["value"])
        for name, by in runs.items()
        for rival, one in by.items()
        if not rival.startswith(OURS)
        and one["ours_over_it"] is not None
        and one["ours_over_it"]["seen_by_some"] is seen
    ]


def _attacks(runs: Runs) -> list[str]:
    return list(dict.fromkeys(attack for by in runs.values() for attack in by))


Run: TypeAlias = tuple[str, Mapping[str, Entry]]
NAME: Column[Run] = Column("model and setting", lambda row: row[0])


def _noticed(runs: Runs) -> str:
    """The judge's share of every attack, a row a model and setting."""
    columns = [NAME, *(Column(f"`{a}`", _of(a), _share_and_success) for a in _attacks(runs))]
    return Table.of(list(runs.items()), columns).markdown()


def _of(attack: str) -> Callable[[Run], Any]:
    return lambda row: row[1].get(attack)


def _share_and_success(one: Entry) -> str:
    won = one["success_8bit"]
    share = f"{_percents(one['noticed']['value'])} %" if one["noticed"] else "none"
    return share if won == 1 else f"{share} (of {percent(won, 0)})"


def _over(runs: Runs) -> str:
    """Our share of observers over each rival's, a row a model and setting."""
    rivals = [attack for attack in _attacks(runs) if not attack.startswith(OURS)]
    columns: list[Column[Run]] = [
        NAME,
        Column("images", lambda row: row[1][OURS]["images"], "d"),
        Column("success", lambda row: row[1][OURS]["success_8bit"], _whole_percent),
        Column(f"noticed, `{OURS}`", lambda row: row[1][OURS]["noticed"], _share),
        *(Column(f"`{rival}`", _over_rival(rival), _ratio) for rival in rivals),
    ]
    return Table.of([row for row in runs.items() if OURS in row[1]], columns).markdown()


def _missed(runs: Runs, proven: Sequence[float] | None) -> str:
    """Beside which rivals the aim is missed, and why we believe that it is."""
    missed: dict[str, list[str]] = {}
    for name, rival, value in _ratios(runs, seen=True):
        if value > HALF:
            missed.setdefault(name, []).append(f"`{rival}` ({value:.2f})")
    if not missed:
        return ""
    said = [f"Missed is the aim in {name} beside {', '.join(by)}." for name, by in missed.items()]
    if ROBUST in missed and proven:
        shortest = min(one["l2"] for one in runs[ROBUST].values() if one["l2"] is not None)
        said.append(
            f"`lipsim-tiny` is robust: it is proven that no change shorter than "
            f"{sum(proven) / len(proven):.1f} (l2, a mean) does it, and the shortest of any attack "
            f"has {shortest:.1f}. {ROBUST_TRIED}"
        )
    return "\n" + fill(" ".join(said), 100, break_on_hyphens=False) + "\n"


def _over_rival(rival: str) -> Callable[[Run], Any]:
    return lambda row: row[1].get(rival, {}).get("ours_over_it")


def _ratio(one: Entry) -> str:
    """Ours over a rival's share; in brackets where neither would be noticed by one in a hundred."""
    text = _number(one["judge"]["value"])
    return text if one["seen_by_some"] else f"[{text}]"


Beside: TypeAlias = tuple[str, Entry, str]


def _beside(runs: Runs) -> str:
    """Distances over the baseline's: of ours, and of what lowers MDSI itself."""
    rows = [
        (name, by[attack], column)
        for name, by in runs.items()
        for attack in (OURS, OF_SEEN, OF_MDSI)
        if by.get(attack, {}).get("beside_baseline") is not None
        for column in BESIDE
    ]
    columns: list[Column[Beside]] = [
        Column("model and setting", lambda row: row[0]),
        Column("attack", lambda row: f"`{row[1]['attack']}`"),
        Column("images", lambda row: row[1]["beside_baseline"]["images"], "d"),
        Column("over the baseline's", lambda row: BESIDE[row[2]]),
        *(Column(name, _statistic(name), _said) for name in STATISTICS),
    ]
    return Table.of(rows, columns).markdown()


def _statistic(name: str) -> Callable[[Beside], Any]:
    return lambda row: row[1]["beside_baseline"][row[2]][name]


def _ours_over_it(by: str) -> Callable[[Entry], Any]:
    return lambda one: (one["ours_over_it"] or {}).get(by)


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.005 <= value < 100 else f"{value:.1g}"


def _said(one: Mapping[str, float]) -> str:
    low, high = _number(one["low"]), _number(one["high"])
    return f"{_number(one['value'])} ({low} to {high})"


def _whole_percent(share: float) -> str:
    return percent(share, 0)


def _percents(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _share(one: Mapping[str, float]) -> str:
    """A share of observers in percent, with its interval."""
    value, low, high = (_percents(one[key]) for key in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


COLUMNS: Sequence[Column[Entry]] = [
    Column("attack", lambda one: f"`{one['attack']}`"),
    Column("images", itemgetter("images"), "d"),
    Column("success", itemgetter("success_8bit"), _whole_percent),
    Column("l2", itemgetter("l2"), ".2f"),
    Column("noticed, judge", itemgetter("noticed"), _share),
    Column("noticed, `seen`", itemgetter("seen"), _share),
    Column(f"`{OURS}` over it, judge", _ours_over_it("judge"), _said),
    Column(f"`{OURS}` over it, `seen`", _ours_over_it("seen"), _said),
    Column("CPU s", itemgetter("cpu_seconds"), ".1f"),
]

ASKED = f"""# Attacks, judged by people

**What was asked.** How many people would notice what an attack changes, where all attacks have the
same goal on the same photographs, and is `{OURS}` noticed by half as many as each rival at most?

"""
READ = """Written by `python -m experiments people.attacks`, on those of the first 3 to 24
ImageNet-Compatible photographs that each model has right, fewer where an attack takes long: each
row says how many. All that a model has right were aimed at, and take many hours. Rows were kept
from run to run where an attack's code is the same. The settings: **plain** asks for another class,
**confidence-5** for a margin of 5 logits, **jpeg-75-and-4-bits** for another class behind either
defence, too, **least-likely-class** for the class that the model finds least likely, and
**own-copies** that `lipsim-tiny`, which is robust, calls a photograph's copy with less contrast
(0.7) closer to it than its copy as a JPEG file (70). Success is that of the files of 8 bits, and
all numbers are of these.

The judge is ST-LPIPS over AlexNet, fitted to what observers said; no attack here minimises it, but
PPGD and LPA keep within AlexNet's features on `lipsim-tiny`, to their advantage. `seen`, which
`cost=seen` is made from, stands beside it. The cost of plain `ssim-sqp` was not fitted to what
people said; of `cost=seen` the thresholds of contrast were chosen on the photographs that the judge
is fitted to as well. ALMA is adversarial-library's; where torchvision, which that imports for other
attacks, cannot be imported, as here, an empty module stands in. In parentheses the 95 % interval of
a bootstrap over photographs: of a few, it says little.

"""
ROBUST_TRIED = """Tried were steps along the boundary by the cost's own gradient, which ours now has
(73 to 49 % on four photographs), the same with `cost=seen`, and `human-perc-ot`, which minds the
cost on its whole way. We believe half of these rivals' shares to be out of reach: it sees a picture
of 64 by 64 pixels, so that what moves it is smooth and spread over the picture by any cost."""
NOTICED_BY = """The share of observers who would, false alarms taken off, by the judge: a mean over
an attack's successes, of which the share stands behind it where they are not all. A dash is what
was not run: ALMA takes classes alone, and PPGD, the slowest, came last.
"""
RATIOS = f"""The share who would notice of `{OURS}` over that of each rival, by the judge, on the
photographs on which both succeed; below 1 ours is seen by fewer. In brackets where neither would be
noticed by one observer in a hundred.
"""
MDSI = f"""The baseline is the rescaled ascent. MDSI is a fourth root and rises like the root of a
small change: where 1 - SSIM, which rises like the square, is at .25 of the baseline's, MDSI is at
.71; at .5 a change of the same shape would have a quarter of the length. `{OF_MDSI}`,
where it stands here, lowers MDSI itself. So does the polishing of `ssim-sqp`'s changes by MDSI in
place of 1 - SSIM: on four photographs of EfficientNet-Lite0's plain setting, 16 steps took it from
.75 to .68 of the baseline's (on `lipsim-tiny`'s own copies to .60), and 48 steps no further. We
believe half to be out of reach for a fixed classifier: the shortest changes that any attack found
(FMN's) have two thirds of the baseline's length, and what a change's place spares halves 1 - SSIM
there, which is a sixth of MDSI.
"""
