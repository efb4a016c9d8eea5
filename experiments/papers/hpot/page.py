"""The page of the attacks on the paper's photographs, from what was measured."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from experiments.papers.hpot.attacks import MOST
from experiments.papers.hpot.claims import claims
from experiments.papers.hpot.detection import LARGEST, SQUEEZERS
from experiments.papers.hpot.rivals import LITERAL, SLOWER, SLOWEST
from experiments.papers.printed import (
    HPOT_TABLE_1,
    HPOT_TABLE_1_PERCEPTUAL,
    HPOT_TABLE_2,
    HPOT_TABLE_3,
    HPOT_TABLE_6,
)
from percert.evaluation.attack_runs.distances import CLEAN
from percert.reports.table import Column, Table, number, percent

Entry = Mapping[str, Any]

TITLES = {
    "l1": "L1",
    "l2": "L2",
    "linf": "Linf",
    "st-lpips-alex": "ST-LPIPS, AlexNet (x1000)",
    "st-lpips-vgg": "ST-LPIPS, VGG (x1000)",
    "ssim": "1 - SSIM (x1000)",
    "seen": "observers who would notice",
}
#: What PerC-AL's 1,000 steps stand beside.
BESIDE_SLOWEST = (
    *SLOWEST,
    "PerC_AL (100 steps)",
    "PGD (L2), least multiple as a file",
    LITERAL.format(0),
    "human-perc-ot",
    "ssim-sqp",
)
THOUSANDTHS = ("st-lpips-alex", "st-lpips-vgg", "ssim")


def page(found: Mapping[str, Any]) -> str:
    """All of it as Markdown: what is found first, then how it was made, then the tables."""
    counts, right = found["counts"], found["right"]
    first = (
        "Every attack of the paper and of percert on the photographs that the paper attacks, the "
        f"ImageNet-Compatible set, {counts['quick']} of them for the quick attacks and "
        f"{counts['slower']} for all. Attacked is `{found['network']}` (ResNet-50 in the paper), "
        f"which has {100 * right['share']:.1f} % of the {right['images']} right that it was shown; "
        "what it has wrong is not attacked. It is a **stand-in**: the photographs and the "
        "algorithms are the paper's, the network, the perceptual distances and the cost's weights "
        "are not."
    )
    parts = [
        "# Human Imperceptible Attacks on its own photographs",
        first,
        claims(found),
        _made(found),
        _table_1(found),
        _paper_1(),
        _quick(found),
        _returned(found["returned"]),
        _slowest(found),
        _figures(),
        _saliency(found["table_2"]),
        _survival(found["figure_7"]),
        _weighed(found["table_3"]),
        _detection(found["detection"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _made(found: Mapping[str, Any]) -> str:
    """The command, the settings, and what the rest and the paper's own would take."""
    counts = found["counts"]
    seconds = {
        entry["attack"]: entry["cpu_seconds"] for entry in (*found["table_1"], *found["slowest"])
    }
    slower = sum(seconds.get(name, 0) for name in SLOWER)
    slowest = sum(seconds.get(name, 0) for name in SLOWEST)
    numbers = " ".join(f"--{name} {count}" for name, count in counts.items() if count != 300)
    command = f"--data DATA --runs out/hpot --out docs/results {numbers}".strip()
    return f"""## How it was made

The quick attacks are of the first {counts["quick"]} photographs, by name; the slower ones, and with
them Tables 1 and 2 and the figures, of the first {counts["slower"]}; PerC-AL's 1,000 steps of
{counts["slowest"]}, and Table 3 of {counts["weighed"]}. The same command without numbers is the
whole set that was at hand, 300; a run of more photographs goes on with one of fewer. A photograph
takes {slower:.0f} seconds of a processor for the slower attacks together, and {slowest:.0f} for
PerC-AL's 1,000 steps: for 300 that would be {300 * slower / 3600:.0f} and
{300 * slowest / 3600:.0f} hours.

```console
$ python -m experiments papers.hpot.on_photographs {command}
```

{ABOUT}"""


def _columns(entries: Sequence[Entry]) -> list[Column[Entry]]:
    names = [name for name in TITLES if name in entries[0]["mean"]]

    def distance(name: str) -> Callable[[Entry], str]:
        # One photograph out of fifty that a file survives is the easiest: it says nothing.
        most = [entry for entry in entries if entry["success_8bit"] >= MOST]
        values = [e["mean"][name] for e in most if e["mean"][name] is not None]
        least = min(values, default=None)

        def told(entry: Entry) -> str:
            value = entry["mean"][name]
            if value is None or entry["success_8bit"] < MOST:
                return "-"
            text = number(1000 * value if name in THOUSANDTHS else value)
            return f"**{text}**" if value == least else text

        return told

    lengths = [Column(TITLES[name], distance(name), side="right") for name in names]
    median: Column[Entry] = Column("L2, median", _of_most("l2", "median"), number)
    lengths.insert(names.index("l2") + 1, median)
    return [
        Column("attack", itemgetter("attack")),
        Column("photographs", itemgetter("images"), "d"),
        Column("success", itemgetter("success"), percent),
        Column("as files", itemgetter("success_8bit"), percent),
        *lengths,
        Column("CPU s", itemgetter("cpu_seconds"), partial(number, digits=2)),
        Column("calls", itemgetter("model_calls"), ".0f"),
    ]


def _table(entries: Sequence[Entry], title: str, words: str = "") -> str:
    if not entries:
        return ""
    table = Table.of(entries, _columns(entries)).markdown()
    return "\n\n".join(filter(None, [f"## {title}", words, table]))


def _table_1(found: Mapping[str, Any]) -> str:
    return _table(
        found["table_1"],
        "Table 1: success and distances",
        "Means over the files that succeed, where at least half do: fewer would be the easiest. In "
        "bold the least of each column. Photographs are those that the network has right. A dash "
        "under ST-LPIPS by VGG alone: one image takes seconds there, and only the main attacks "
        f"were looked at. {_undone(found['table_1'])}",
    )


def _quick(found: Mapping[str, Any]) -> str:
    quick = found["counts"]["quick"]
    return _table(
        found["all_quick"],
        f"The quick attacks on {quick} photographs",
        "As Table 1, without the distances that take a network. Means are moved by few photographs "
        "that take long ways; the median beside L2 is not. " + _undone(found["all_quick"]),
    )


def _undone(entries: Sequence[Entry]) -> str:
    """Why hardly a file of PGD (L2) succeeds, and what its means are of then."""
    pgd = next((entry for entry in entries if entry["attack"] == "PGD (L2)"), None)
    if pgd is None or pgd["success_8bit"] > 0.5:
        return ""
    files = round(pgd["success_8bit"] * pgd["images"])
    return (
        "PGD (L2) stops at its first success, where most values have moved by less than half a "
        f"grey level: rounding to a file undoes it on {pgd['images'] - files} of "
        f"{pgd['images']} photographs."
    )


def _slowest(found: Mapping[str, Any]) -> str:
    slowest = found["counts"]["slowest"]
    return _table(
        [entry for entry in found["slowest"] if entry["attack"] in BESIDE_SLOWEST],
        f"PerC-AL as in its own work, on the first {slowest} photographs",
        "The paper does not say how many steps PerC-AL takes: in its own work 1,000. They make its "
        "changes smaller than 100 do; beside it are the others on the same photographs.",
    )


def _paper_1() -> str:
    columns: list[Column[str]] = [
        Column("as the paper prints it", str),
        Column("success", lambda name: HPOT_TABLE_1[name][0], lambda share: f"{share:g} %"),
        Column("L1", lambda name: HPOT_TABLE_1[name][1], "g"),
        Column("L2", lambda name: HPOT_TABLE_1[name][2], "g"),
        Column("Linf", lambda name: HPOT_TABLE_1[name][3], "g"),
        Column("LPIPS (x1000)", lambda name: HPOT_TABLE_1_PERCEPTUAL[name][0], "g"),
        Column("DISTS (x1000)", lambda name: HPOT_TABLE_1_PERCEPTUAL[name][1], "g"),
        Column("s for 1,000, V100", lambda name: HPOT_TABLE_6[name], "g"),
    ]
    return (
        "What the paper prints in its Tables 1 and 6, of 1,000 photographs and ResNet-50, to be "
        "compared by the order of the attacks alone:\n\n"
        + Table.of(HPOT_TABLE_1, columns).markdown()
    )


def _returned(all_of_them: Sequence[Entry]) -> str:
    """The attacks that return no 8-bit images."""
    entries = [one for one in all_of_them if _is_rounded(one)]
    columns: list[Column[Entry]] = [
        Column("attack", itemgetter("attack")),
        Column("success, floats", itemgetter("success"), percent),
        Column("as files", itemgetter("success_8bit"), percent),
        *(
            Column(f"{title}, {what}", _nested(kind, name), number)
            for name, title in (("l1", "L1"), ("l2", "L2"), ("linf", "Linf"))
            for kind, what in (("returned", "floats"), ("file", "files"))
        ),
    ]
    return (
        "## What rounding makes of them\n\nLengths of the change as the attack returned it, over "
        "the photographs on which that succeeds, and of the files that succeed, of those attacks "
        "whose images are not of 8 bits. What no file survives has no length there.\n\n"
        + Table.of(entries, columns).markdown()
    )


def _is_rounded(entry: Entry) -> bool:
    """Whether files of 8 bits are others than what the attack returned."""
    before, after = entry["returned"]["l1"], entry["file"]["l1"]
    if not before or not after:
        return bool(entry["success"] != entry["success_8bit"])
    return bool(abs(before / after - 1) > 0.01)


def _of_most(name: str, kind: str = "mean") -> Callable[[Entry], float | None]:
    """A distance of the attacks whose files succeed on half at least: fewer are the easiest."""
    return lambda entry: entry[kind][name] if entry["success_8bit"] >= MOST else None


def _nested(kind: str, name: str) -> Callable[[Entry], Any]:
    return lambda entry: entry[kind][name]


def _figures() -> str:
    return (
        "## Figures 5 and 12: distributions\n\nThe paper's Figure 12 is of LPIPS, for which "
        "ST-LPIPS stands; its Figure 5 is of DISTS, whose network cannot be had: 1 - SSIM and the "
        "share of observers are in its place. Of the files of Table 1 that succeed: quartiles, "
        "median, and whiskers from the 5th to the 95th percentile; beside them the share of the "
        "photographs within each distance.\n\n"
        "![Boxes and cumulative distributions of ST-LPIPS](human-perc-ot-st-lpips-alex.png)\n\n"
        "![Boxes and cumulative distributions of 1 - SSIM](human-perc-ot-ssim.png)\n\n"
        "![Boxes and cumulative distributions of the share who would notice]"
        "(human-perc-ot-seen.png)"
    )


def _saliency(maps: Mapping[str, Sequence[Entry]]) -> str:
    parts = [
        "## Table 2: saliency maps\n\nMean differences between the map of the file and that of the "
        "photograph, where at least half of the files succeed, by OpenCV's two detectors: EGNet's "
        "weights are not given. The paper's numbers "
        "stand below for their order alone; there Human_Perc_OT's change is the least of the five. "
        f"{' '.join(map(_order, maps.values(), maps))}"
    ]
    for name, entries in maps.items():
        columns: list[Column[Entry]] = [
            Column(name, itemgetter("attack")),
            Column("L1", _of_most("l1"), number),
            Column("L2", _of_most("l2"), number),
            Column("Linf", _of_most("linf"), number),
            Column("1-SSIM", _of_most("ssim"), number),
        ]
        parts.append(Table.of(entries, columns).markdown())
    printed: list[Column[str]] = [
        Column("EGNet, as the paper prints it", str),
        Column("L1", lambda name: HPOT_TABLE_2[name][0], "g"),
        Column("L2", lambda name: HPOT_TABLE_2[name][1], "g"),
        Column("Linf", lambda name: HPOT_TABLE_2[name][2], "g"),
        Column("SSIM", lambda name: HPOT_TABLE_2[name][3], "g"),
    ]
    parts.append(Table.of(HPOT_TABLE_2, printed).markdown())
    return "\n\n".join(part.strip() for part in parts)


#: The paper's five in Table 2, PGD as files hold it.
FIVE = (
    "PerC_AL (100 steps)",
    "PGD (L2), least multiple as a file",
    "NPTM (PPGD), AlexNet",
    "NPTM (LPA), AlexNet",
    LITERAL.format(0),
)


def _order(entries: Sequence[Entry], name: str) -> str:
    """The paper's five by how little they move the maps in L1."""
    five = [e for e in entries if e["attack"] in FIVE and e["mean"]["l1"] is not None]
    five.sort(key=lambda entry: entry["mean"]["l1"])
    told = "; ".join(f"{entry['attack']} {number(entry['mean']['l1'])}" for entry in five)
    return f"Here, in L1 by {name} and from the least: {told}."


def _survival(entries: Sequence[Entry]) -> str:
    by: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        by.setdefault(entry["attack"], {})[entry["defence"]] = entry
    defences = list(next(iter(by.values())))

    def survives(defence: str) -> Callable[[str], str]:
        return lambda attack: _with_interval(
            by[attack][defence]["share"], by[attack][defence]["interval"]
        )

    columns: list[Column[str]] = [
        Column("attack", lambda attack: "no attack" if attack == CLEAN else attack),
        Column("photographs", lambda attack: by[attack][defences[0]]["attacked"], "d"),
        *(Column(name, survives(name), side="right") for name in defences),
    ]
    return (
        "## Figure 7: what survives a defence\n\nThe share of the attacked photographs whose file "
        "is still misclassified behind it, with its 95 % interval (Wilson's). The paper draws "
        "bars, and says neither the quality nor the bits.\n\n" + Table.of(by, columns).markdown()
    )


def _weighed(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    by = {entry["attack"]: entry for entry in entries}

    def here(name: str) -> Callable[[float], Any]:
        return lambda lam: by[f"lambda {lam:g}"]["mean"][name]

    columns: list[Column[float]] = [
        Column("lambda", lambda lam: f"{lam:g}"),
        Column("L1, paper", lambda lam: HPOT_TABLE_3[lam][2], "g"),
        Column("L2, paper", lambda lam: HPOT_TABLE_3[lam][3], "g"),
        Column("L1, here", here("l1"), number),
        Column("L2, here", here("l2"), number),
        Column("Linf, here", here("linf"), number),
        Column("noticed", here("seen"), number),
    ]
    measured = [lam for lam in sorted(HPOT_TABLE_3) if f"lambda {lam:g}" in by]
    return (
        "## Table 3: the weight of the cost\n\nHuman_Perc_OT (a = 0) as published, with PieAPP's "
        "network as its cost: its published weights are not given, so they are random, of seed 0, "
        "and the score is divided by the mean length of its gradient at a photograph. Like the "
        "paper's, this cost has a gradient at the photograph itself, and lambda acts from the "
        f"first step on ({entries[0]['images']} photographs). The paper's changes grow with lambda "
        "in L1 and L2.\n\n" + Table.of(measured, columns).markdown()
    )


def _detection(entries: Sequence[Entry]) -> str:

    def attack(entry: Entry) -> str:
        return "no attack: false alarms" if entry["attack"] == CLEAN else str(entry["attack"])

    def alarmed(name: str) -> Callable[[Entry], str]:
        return lambda entry: _with_interval(entry["alarmed"][name], entry["intervals"][name])

    columns: list[Column[Entry]] = [
        Column("attack", attack),
        Column("files", itemgetter("files"), "d"),
        *(
            Column(f"class changes, {name}", _nested("changed", name), percent)
            for name in SQUEEZERS
        ),
        *(Column(f"alarm, {name}", alarmed(name), side="right") for name in (*SQUEEZERS, LARGEST)),
    ]
    return (
        "## Detection\n\nHow often simple detectors tell the attacked files from photographs that "
        "nobody attacked. First, how often the network's class changes behind a squeezer. Then the "
        "share of alarms where the l1 distance between its probabilities before and behind it "
        "(Xu, Evans and Qi 2018) is above what 95 % of photographs stay below; thresholds are set "
        "on one half of the photographs for the other. In parentheses 95 % intervals "
        f"(Wilson's).{_evading(entries)}\n\n" + Table.of(entries, columns).markdown()
    )


def _evading(entries: Sequence[Entry]) -> str:
    """How often the attack that must survive two of the squeezers is told, beside the plain one."""
    by = {entry["attack"]: entry["alarmed"] for entry in entries}
    plain, evading = "ssim-sqp", "ssim-sqp, through JPEG 75 and 4 bits"
    if plain not in by or evading not in by:
        return ""
    said = ", ".join(
        f"{name} {percent(by[evading][name])} instead of {percent(by[plain][name])}"
        for name in (*SQUEEZERS, LARGEST)
    )
    return (
        " Does the attack that must survive two of the squeezers evade them? It raises alarms by "
        f"{said}; where nobody attacked, {LARGEST} raises {percent(by[CLEAN][LARGEST])}."
    )


def _with_interval(share: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


ABOUT = """ShiftTolerant-LPIPS, whose weights a package has whole, stands for LPIPS, and nothing
for DISTS: their heads come in packages, the networks that they look through (torchvision's AlexNet
and VGG-16) in none that we know of. The last distance is `seen`, the share of observers who would
notice, fitted to what people said of attacked photographs.

PGD (L2), of which the paper says neither the steps nor where it stops, takes l2 steps of 0.1 along
the gradient of the cross-entropy up to its first success. Beside it are the least multiple of its
change that a file of 8 bits survives, the raw gradient truncated to 8 bits in each step, and
projected PGD in balls. Human_Perc_OT is Algorithm 1 as printed, with 1 - SSIM as its cost unless
another one is named. PPGD and LPA keep within 0.5 of AlexNet's features (ShiftTolerant-LPIPS's
trunk, without its heads) or of the network's own. CPU seconds are one process's, with one thread,
on a machine that others used; calls are images passed forward through the network.

To make it wholly the paper's: each table and figure by itself, with its status, its time, and the
weights and photographs that it takes, is in [reproduce.md](reproduce.md)."""
