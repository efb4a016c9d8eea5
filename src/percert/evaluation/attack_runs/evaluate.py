"""Evaluate attack runs into a folder: compared, on other models, behind defences, by saliency maps.

Each evaluation writes ``report.html`` with its figures, ``NAME.json`` and ``run.json``, and keeps
what it has measured: called again with the same folder, it goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from percert.check import Argument, ArgumentError
from percert.device import resolve_device
from percert.evaluation.attack_runs.compare import (
    AttackEvaluation,
    as_json,
    evaluate_attacks,
    number_attacks,
)
from percert.evaluation.attack_runs.defences import (
    defended_predictions,
    survival_section,
    survival_table,
    survivals,
    transfer_section,
    transfer_table,
    transferred_predictions,
    transfers,
)
from percert.evaluation.attack_runs.distances import CLEAN, keep_own_distances, measure_distances
from percert.evaluation.attack_runs.frontier import frontier_points, frontier_section
from percert.evaluation.attack_runs.pages import attacked_pictures, conditions
from percert.evaluation.attack_runs.read import AttackRuns, read_attack_runs
from percert.evaluation.attack_runs.report import attack_sections, medians, ratios_table
from percert.evaluation.attack_runs.saliency import (
    DISTANCES,
    create_saliency,
    lead,
    saliency_distances,
    saliency_pictures,
    saliency_section,
)
from percert.lipschitz.network import weights_hash
from percert.models import load_classifier
from percert.reports import read_run
from percert.reports.page import Paragraph, Section, write_page
from percert.reports.table import Table
from percert.runs import RunFolder, RunResult
from percert.runs.engine import Progress, silent
from percert.runs.plan import RecordedMetric, recorded_metrics

#: The defences of :func:`defend_runs` where none are named.
DEFENCES = ("jpeg-75", "jpeg-50", "bits-5", "bits-4", "bits-3")
#: Names with a file of weights each, or ``None``.
Files: TypeAlias = Mapping[str, str | Path | None]
Shown: TypeAlias = tuple[Table | str, ...]


def compare_runs(
    folders: Sequence[Path],
    out: Path,
    *,
    images: Path | None = None,
    metrics: Files | None = None,
    baseline: str | None = None,
    pictures: int = 3,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> RunResult:
    """Compare the attacks of runs: success, distances, effort; ratios to ``baseline``; pictures.

    ``images`` are those that were attacked, where the runs do not say; ``metrics`` are measured
    beside the runs' own distances, each with a file of weights or ``None``. ``records.parquet``
    gets every distance of every image. Raises ``ValueError`` for folders that hold no runs.
    """
    runs, originals = _open(folders, images)
    device = str(resolve_device(device))
    measures, how = _measures(metrics or {}, runs, device)
    settings = {"eval": "attacks", "images": str(originals.resolve())}
    folder = RunFolder(out, settings, device=device, command=command)
    rows = measure_distances(
        runs.rows,
        originals,
        measures,
        out,
        how=how,
        over=runs.over,
        progress=partial(progress, "measuring"),
    )
    own = [name for name in runs.own_distances if name not in measures]
    keep_own_distances(runs.rows, own, out)
    found = evaluate_attacks(
        runs, rows, list(dict.fromkeys((*runs.own_distances, *measures))), baseline
    )
    shown = attacked_pictures(rows, originals, pictures, folder=out)
    made = Paragraph(conditions(runs.folders, [read_run(one) for one in runs.folders]))
    attacked = len({row["image"] for row in found.rows if row["attacked"]})
    write_page(
        out / "report.html",
        "Attacks compared",
        [*attack_sections(found, shown, out), Section("The runs", (made,))],
        lead=f"{len(found.own)} attacks on {attacked} images; all of them succeeded on "
        f"{len(found.shared_on)}.",
    )
    return _finished(folder, "attacks", found.answer(), _compared(found, out))


def transfer_runs(
    folders: Sequence[Path],
    out: Path,
    models: Files,
    *,
    images: Path | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
    warn: Callable[[str], object] = lambda text: None,
) -> RunResult:
    """Show what succeeded as a file to other classifiers: which of them are fooled as well?

    ``models`` are what :func:`percert.models.load_classifier` takes, each with its weights or
    ``None``; all must number their classes as the attacked one does, and ``warn`` is told where
    that is doubtful. Raises ``ValueError`` where no attack succeeded.
    """
    runs, originals = _open(folders, images, "transfer")
    device = str(resolve_device(device))
    networks = {spec: load_classifier(spec, device, file) for spec, file in models.items()}
    hashes = {spec: weights_hash(network)[:16] for spec, network in networks.items()}
    settings = {"eval": "transfer", "images": str(originals.resolve())}
    folder = RunFolder(out, settings, device=device, command=command)
    said = transferred_predictions(
        runs.rows, originals, networks, hashes, out, progress=partial(progress, "showing")
    )
    entries = transfers(runs.rows, said, list(networks))
    if not entries:
        raise ValueError("runs: no attack succeeded in any of them, there is nothing to transfer")
    labels = {row["image"]: row["label"] for row in runs.rows}
    accuracy = {}
    for name in networks:
        right = [
            found["prediction"] == labels[image]
            for (attack, image, model), found in said.items()
            if attack == CLEAN and model == name
        ]
        accuracy[name] = sum(right) / len(right)
        if not any(right):
            warn(
                f"{name} has none of the {len(right)} originals right: does it number its classes "
                "as the attacked model does?"
            )
    write_page(
        out / "report.html",
        "Transfer of attacks",
        [transfer_section(entries, accuracy, out)],
        lead=f"{len({entry.attack for entry in entries})} attacks, shown to {', '.join(networks)}.",
    )
    answer = {"accuracy": accuracy, "transfer": [entry.answer() for entry in entries]}
    shown = (
        transfer_table(entries),
        "Shares of the images that a model has right before the attack and wrong after it.",
        f"The matrix is in {out / 'report.html'}",
    )
    return _finished(folder, "transfer", answer, shown)


def defend_runs(
    folders: Sequence[Path],
    out: Path,
    model: str,
    weights: Path | None = None,
    *,
    images: Path | None = None,
    defences: Sequence[str] = DEFENCES,
    costs: Files | None = None,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
    warn: Callable[[str], object] = lambda text: None,
) -> RunResult:
    """Which attacked images still fool ``model`` behind each of ``defences``, and at what cost?

    ``costs`` are distances, the runs' own or metrics with a file of weights or ``None`` (by default
    SSIM), each held against survival in a figure of its own. Raises ``ValueError`` where nothing
    was attacked.
    """
    runs, originals = _open(folders, images, "defences")
    device = str(resolve_device(device))
    costs = {"ssim": None} if costs is None else costs
    measures, how = _measures(costs, runs, device)
    network = load_classifier(model, device, weights)
    hashed = weights_hash(network)
    if {row["weights"] for row in runs.rows} - {hashed, None}:
        warn("these weights are not those that were attacked: this is a transfer")
    settings = {
        "eval": "defences",
        "images": str(originals.resolve()),
        "model": model,
        "weights_sha256": hashed,
    }
    folder = RunFolder(out, settings, device=device, command=command)
    defences = list(dict.fromkeys(defences))
    said = defended_predictions(
        runs.rows,
        originals,
        network,
        hashed[:16],
        defences,
        out,
        progress=partial(progress, "defending"),
    )
    rows = list(runs.rows)
    if measures:
        rows = measure_distances(
            rows,
            originals,
            measures,
            out / "distances",
            how=how,
            progress=partial(progress, "measuring"),
        )
    entries = survivals(rows, said, defences)
    if not entries:
        raise ValueError("runs: nothing was attacked in any of them")
    points = {name: frontier_points(rows, entries, name) for name in costs}
    write_page(
        out / "report.html",
        "Attacks behind defences",
        [
            survival_section(entries, out),
            *(frontier_section(cost, some, entries, out) for cost, some in points.items() if some),
        ],
        lead=f"{len({row['attack'] for row in rows})} attacks on {model}, behind "
        f"{len(defences)} defences.",
    )
    answer = {
        "model": model,
        "survival": [entry.answer() for entry in entries],
        "frontier": {name: [asdict(point) for point in some] for name, some in points.items()},
    }
    shown = (
        survival_table(entries),
        "Shares of the attacked images that succeed as files and behind the defence.",
        f"Cost at equal survival is in {out / 'report.html'}",
    )
    return _finished(folder, "defences", answer, shown)


def saliency_runs(
    folders: Sequence[Path],
    out: Path,
    methods: Sequence[str] = ("spectral-residual",),
    *,
    images: Path | None = None,
    pictures: int = 2,
    device: str = "auto",
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> RunResult:
    """How far do attacks move the saliency map of an image, which says what draws people's eyes?

    ``methods`` are what :func:`~percert.evaluation.attack_runs.saliency.create_saliency` takes.
    Raises ``ValueError`` where nothing was attacked.
    """
    runs, originals = _open(folders, images)
    device = str(resolve_device(device))
    made = {name: create_saliency(name, device) for name in dict.fromkeys(methods)}
    settings = {"eval": "saliency", "images": str(originals.resolve())}
    folder = RunFolder(out, settings, device=device, command=command)
    measured = saliency_distances(
        runs.rows, originals, made, out, progress=partial(progress, "mapping")
    )
    entries = {name: number_attacks(rows, DISTANCES) for name, rows in measured.items()}
    if not any(entries.values()):
        raise ValueError("runs: nothing was attacked in any of them")
    sections = []
    for place, (name, (network, _)) in enumerate(made.items(), 1):
        shown = saliency_pictures(runs.rows, originals, network, pictures, place=place, folder=out)
        sections.append(saliency_section(name, place, entries[name], measured[name], shown, out))
    write_page(out / "report.html", "Saliency under attack", sections, lead=lead(made, entries))
    answer = {"saliency": {name: as_json(some) for name, some in entries.items()}}
    said: list[Table | str] = []
    for name, some in entries.items():
        said += [f"{name}:", medians(some, DISTANCES)]
    said.append("Medians of the distances between maps, of the images that succeed as files.")
    said.append(f"Maps to look at are in {out / 'report.html'}")
    return _finished(folder, "saliency", answer, tuple(said))


def _open(
    folders: Sequence[Path], images: Path | None, classifiers_for: str = ""
) -> tuple[AttackRuns, Path]:
    """The runs, on classifiers where that is asked for, and the images that they attacked."""
    runs = read_attack_runs(folders)
    originals = images or runs.images
    if originals is None:
        why = ": needed, for the runs do not say what images they attacked"
        raise ArgumentError(Argument("images"), why)
    if classifiers_for and runs.goal != "classifier":
        raise ValueError(
            f"eval {classifiers_for}: expected attacks on a classifier, found on {runs.goal}s"
        )
    return runs, originals


def _measures(
    named: Files, runs: AttackRuns, device: str
) -> tuple[dict[str, RecordedMetric], dict[str, str]]:
    """The metrics to measure, which are those that the runs have not, and with what files."""
    files = {n: file for n, file in named.items() if file or n not in runs.own_distances}
    made = recorded_metrics(files, device) if files else {}
    how = {name: str(file or "") for name, file in files.items()}
    return {name: metric for name, metric in made.items() if name in files}, how


def _finished(folder: RunFolder, name: str, answer: Mapping[str, Any], shown: Shown) -> RunResult:
    whole = folder.answer(name, answer)
    folder.note(finished=True)
    return RunResult(whole, shown)


def _compared(found: AttackEvaluation, out: Path) -> Shown:
    shown: list[Table | str] = [
        medians(found.own, found.distances, effort=True),
        *(f"{entry.rounding}." for entry in found.own if entry.rounding is not None),
        "Distances are medians over each attack's own successes as files of 8 bits.",
    ]
    if found.baseline is not None and len(found.own) > 1:
        shown += [
            "",
            f"Means over those of {found.baseline} on the same images; below 1 is better:",
            ratios_table(found),
        ]
    return (*shown, f"Tables, figures and pictures are in {out / 'report.html'}")
