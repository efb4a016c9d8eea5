"""The page of the attacks on the paper's photographs, from what was measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.papers.hpot.claims import claims, share_words
from experiments.papers.hpot.detection import LARGEST, SQUEEZERS
from experiments.papers.hpot.rivals import LITERAL, SLOWEST
from experiments.papers.printed import (
    HPOT_TABLE_1,
    HPOT_TABLE_1_PERCEPTUAL,
    HPOT_TABLE_2,
    HPOT_TABLE_3,
    HPOT_TABLE_6,
)
from experiments.tables import markdown
from percert.evaluation.attack_runs.distances import CLEAN
from percert.reports.table import number

Entry = Mapping[str, Any]
#: What a column of a table says of an attack, and its heading.
Told = Callable[[Entry], str]

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
#: The share of files that succeed, from which on an attack competes for the least of a column.
MOST = 0.5
THOUSANDTHS = ("st-lpips-alex", "st-lpips-vgg", "ssim")


def page(found: Mapping[str, Any]) -> str:
    """All of it as Markdown."""
    counts, right = found["counts"], found["right"]
    first = [
        f"Attacked is `{found['network']}` (ResNet-50 in the paper) on photographs of the "
        f"ImageNet-Compatible set that it has right: {100 * right['share']:.1f} % of the "
        f"{right['images']} that it was shown. The quick attacks are of the first "
        f"{counts['quick']}, by name; the slower ones, and with them Tables 1 and 2 and the "
        f"figures, of the first {counts['slower']}; PerC-AL's 1,000 steps of "
        f"{counts['slowest']}, and Table 3 of {counts['weighed']}. The same command without "
        "numbers is the whole set; a run of more photographs goes on with one of fewer:",
        "",
        "```console",
        "$ python -m experiments papers.hpot.on_photographs --data DATA --runs out/hpot "
        "--out docs/results "
        + " ".join(f"--{name} {count}" for name, count in counts.items() if count != 300),
        "```",
        "",
        "Each table and figure of the paper by itself, with its status, its time, and how to make "
        "it wholly the paper's: [reproduce.md](reproduce.md).",
    ]
    parts = [
        "# Human Imperceptible Attacks on its own photographs",
        "\n".join(first),
        ABOUT,
        claims(found),
        _table_1(found),
        _paper_1(),
        _returned(found["returned"]),
        _table(
            [entry for entry in found["slowest"] if entry["attack"] in BESIDE_SLOWEST],
            f"PerC-AL as in its own work, on the first {counts['slowest']} photographs",
        ),
        _table(found["all_quick"], f"The quick attacks on {counts['quick']} photographs"),
        _figures(),
        _saliency(found["table_2"]),
        _survival(found["figure_7"]),
        _weighed(found["table_3"]),
        _detection(found["detection"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _columns(entries: Sequence[Entry]) -> dict[str, Told]:
    names = [name for name in TITLES if name in entries[0]["mean"]]

    def distance(name: str) -> Told:
        # One photograph out of fifty that a file survives is the easiest: it says nothing.
        most = [entry for entry in entries if entry["success_8bit"] >= MOST]
        values = [e["mean"][name] for e in most if e["mean"][name] is not None]
        least = min(values, default=None)

        def told(entry: Entry) -> str:
            value = entry["mean"][name]
            if value is None:
                return "-"
            text = number(1000 * value if name in THOUSANDTHS else value)
            return f"**{text}**" if value == least else text

        return told

    return {
        "attack": lambda entry: f"{entry['attack']}",
        "photographs": lambda entry: str(entry["images"]),
        "success": lambda entry: share_words(entry["success"]),
        "as files": lambda entry: share_words(entry["success_8bit"]),
        **{TITLES[name]: distance(name) for name in names},
        "CPU s": lambda entry: number(entry["cpu_seconds"], 2),
        "calls": lambda entry: f"{entry['model_calls']:.0f}",
    }


def _rows(entries: Sequence[Entry], columns: Mapping[str, Told]) -> str:
    lines = [[told(entry) for told in columns.values()] for entry in entries]
    return markdown(list(columns), lines)


def _table(entries: Sequence[Entry], title: str, words: str = "") -> str:
    if not entries:
        return ""
    return "\n\n".join(filter(None, [f"## {title}", words, _rows(entries, _columns(entries))]))


def _table_1(found: Mapping[str, Any]) -> str:
    return _table(
        found["table_1"],
        "Table 1: success and distances",
        "Means over the files that succeed; in bold the least of each column, of attacks whose "
        "files succeed on at least half. Photographs are those that the network has right.",
    )


def _paper_1() -> str:
    lines = [
        [name, f"{row[0]:g} %", *(f"{value:g}" for value in row[1:])]
        + [f"{value:g}" for value in HPOT_TABLE_1_PERCEPTUAL[name]]
        + [f"{HPOT_TABLE_6[name]:g}"]
        for name, row in HPOT_TABLE_1.items()
    ]
    head = ["as the paper prints it", "success", "L1", "L2", "Linf", "LPIPS (x1000)"]
    return markdown([*head, "DISTS (x1000)", "s for 1,000, V100"], lines)


def _returned(all_of_them: Sequence[Entry]) -> str:
    """The attacks that return no 8-bit images."""
    entries = [one for one in all_of_them if _is_rounded(one)]
    columns: dict[str, Told] = {
        "attack": lambda entry: entry["attack"],
        "success, floats": lambda entry: share_words(entry["success"]),
        "as files": lambda entry: share_words(entry["success_8bit"]),
        **{
            f"{title}, {what}": _length(kind, name)
            for name, title in (("l1", "L1"), ("l2", "L2"), ("linf", "Linf"))
            for kind, what in (("returned", "floats"), ("file", "files"))
        },
    }
    return (
        "## What rounding makes of them\n\nLengths of the change as the attack returned it, over "
        "the photographs on which that succeeds, and of the files that succeed, of those attacks "
        "whose images are not of 8 bits. What no file survives has no length there.\n\n"
        + _rows(entries, columns)
    )


def _is_rounded(entry: Entry) -> bool:
    """Whether files of 8 bits are others than what the attack returned."""
    before, after = entry["returned"]["l1"], entry["file"]["l1"]
    if not before or not after:
        return bool(entry["success"] != entry["success_8bit"])
    return bool(abs(before / after - 1) > 0.01)


def _length(kind: str, name: str) -> Told:
    return lambda entry: number(entry[kind][name])


def _figures() -> str:
    return (
        "## Figures 5 and 12: distributions\n\nOf the files of Table 1 that succeed: quartiles, "
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
        "photograph, by OpenCV's two detectors: EGNet's weights are not given. The paper's numbers "
        "stand below for their order alone."
    ]
    for name, entries in maps.items():
        columns: dict[str, Told] = {
            name: lambda entry: entry["attack"],
            **{
                title: _map_distance(key)
                for key, title in (("l1", "L1"), ("l2", "L2"), ("linf", "Linf"), ("ssim", "1-SSIM"))
            },
        }
        parts.append(_rows(entries, columns))
    lines = [[name, *(f"{value:g}" for value in row)] for name, row in HPOT_TABLE_2.items()]
    parts.append(markdown(["EGNet, as the paper prints it", "L1", "L2", "Linf", "SSIM"], lines))
    return "\n\n".join(part.strip() for part in parts)


def _map_distance(key: str) -> Told:
    return lambda entry: number(entry["mean"][key])


def _survival(entries: Sequence[Entry]) -> str:
    by: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        by.setdefault(entry["attack"], {})[entry["defence"]] = entry
    defences = list(next(iter(by.values())))
    lines = [
        [
            "no attack" if attack == CLEAN else attack,
            str(some[defences[0]]["attacked"]),
            *(_with_interval(some[name]["share"], some[name]["interval"]) for name in defences),
        ]
        for attack, some in by.items()
    ]
    return (
        "## Figure 7: what survives a defence\n\nThe share of the attacked photographs whose file "
        "is still misclassified behind it, with its 95 % interval (Wilson's). The paper draws "
        "bars, and says neither the quality nor the bits.\n\n"
        + markdown(["attack", "photographs", *defences], lines)
    )


def _weighed(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    by = {entry["attack"]: entry for entry in entries}
    lines = [
        [f"{lam:g}", f"{row[2]:g}", f"{row[3]:g}"]
        + [number(by[f"lambda {lam:g}"]["mean"][name]) for name in ("l1", "l2", "linf", "seen")]
        for lam, row in sorted(HPOT_TABLE_3.items())
        if f"lambda {lam:g}" in by
    ]
    head = ["lambda", "L1, paper", "L2, paper", "L1, here", "L2, here", "Linf, here", "noticed"]
    return (
        "## Table 3: the weight of the cost\n\nHuman_Perc_OT (a = 0) as published, with PieAPP's "
        "network as its cost: its published weights are not given, so they are random, of seed 0, "
        "and the score is divided by the mean length of its gradient at a photograph. Like the "
        "paper's, this cost has a gradient at the photograph itself, and lambda acts from the "
        f"first step on ({entries[0]['images']} photographs).\n\n" + markdown(head, lines)
    )


def _detection(entries: Sequence[Entry]) -> str:
    detectors = [*SQUEEZERS, LARGEST]
    lines = [
        [
            "no attack: false alarms" if entry["attack"] == CLEAN else entry["attack"],
            str(entry["files"]),
            *(share_words(entry["changed"][name]) for name in SQUEEZERS),
            *(
                _with_interval(entry["alarmed"][name], entry["intervals"][name])
                for name in detectors
            ),
        ]
        for entry in entries
    ]
    head = ["attack", "files", *(f"class changes, {name}" for name in SQUEEZERS)]
    head += [f"alarm, {name}" for name in detectors]
    return (
        "## Detection\n\nHow often simple detectors tell the attacked files from photographs that "
        "nobody attacked. First, how often the network's class changes behind a squeezer. Then the "
        "share of alarms where the l1 distance between its probabilities before and behind it "
        "(Xu, Evans and Qi 2018) is above what 95 % of photographs stay below; thresholds are set "
        "on one half of the photographs for the other. In parentheses 95 % intervals "
        f"(Wilson's).{_evading(entries)}\n\n" + markdown(head, lines)
    )


def _evading(entries: Sequence[Entry]) -> str:
    """How often the attack that must survive two of the squeezers is told, beside the plain one."""
    by = {entry["attack"]: entry["alarmed"] for entry in entries}
    plain, evading = "ssim-sqp", "ssim-sqp, through JPEG 75 and 4 bits"
    if plain not in by or evading not in by:
        return ""
    said = ", ".join(
        f"{name} {share_words(by[evading][name])} instead of {share_words(by[plain][name])}"
        for name in (*SQUEEZERS, LARGEST)
    )
    return (
        " Does the attack that must survive two of the squeezers evade them? It raises alarms by "
        f"{said}; where nobody attacked, {LARGEST} raises {share_words(by[CLEAN][LARGEST])}."
    )


def _with_interval(share: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


ABOUT = """A **stand-in**: the photographs and the algorithms are the paper's; the network, the
perceptual distances and PieAPP's weights are not. LPIPS and DISTS need weights that are not given;
ShiftTolerant-LPIPS, whose weights a package has, stands for them. The last distance is `seen`, the
share of observers who would notice, fitted to what people said of attacked photographs.

PGD (L2), of which the paper says neither the steps nor where it stops, takes l2 steps of 0.1 along
the gradient of the cross-entropy up to its first success. Beside it are the least multiple of its
change that a file of 8 bits survives, the raw gradient truncated to 8 bits in each step, and
projected PGD in balls. Human_Perc_OT is Algorithm 1 as printed, with 1 - SSIM as its cost unless
another one is named. PPGD and LPA keep within 0.5 of AlexNet's features (ShiftTolerant-LPIPS's
trunk, without its heads) or of the network's own. CPU seconds are one process's, with one thread,
on a machine that others used; calls are images passed forward through the network."""
