"""What is attacked in a collection: a classifier, a metric's choice, or a metric's embedding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from percert.attacks.goal import (
    FlipTriplet,
    Goal,
    Model,
    MoveEmbedding,
    Targeted,
    Untargeted,
    ask,
    finite,
    logits,
)
from percert.attacks.goal_through import surviving
from percert.attacks.run import Verdict
from percert.reports.records import Columns
from percert.runs.items import Sample
from percert.tensors import Images


@dataclass(frozen=True)
class Clean:
    """What is known of a subject before it is attacked, and whether it is to be."""

    label: int | None
    prediction: int | None
    attack: bool


class Task(Protocol):
    """A model and what is wanted of it. All subjects of a call have the same ``sizes``.

    ``columns`` are what its rows have beside those of every attack: :meth:`outcome` gives their
    values and the ``prediction``, and :meth:`unmoved` those of a subject that was not attacked.
    """

    @property
    def model(self) -> nn.Module: ...

    @property
    def kind(self) -> str: ...

    @property
    def columns(self) -> Columns: ...

    def look(self, subjects: Sequence[Sample]) -> list[Clean]: ...

    def goal(self, subjects: Sequence[Sample], clean: Sequence[Clean]) -> Goal: ...

    def outcome(self, subjects: Sequence[Sample], verdict: Verdict) -> list[Mapping[str, Any]]: ...

    def unmoved(self, subject: Sample, clean: Clean) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class ClassifierTask:
    """Move each image out of its class, or, where ``targeted``, into its target.

    An image without a label has the class that the model gives it. Those that the model has wrong
    already, or that are in the target, are attacked only where ``even_wrong`` says so. ``survive``
    names defences, joined by ``+``, through which that must be reached as well.
    """

    model: nn.Module
    targeted: bool = False
    confidence: float = 0.0
    even_wrong: bool = False
    kind: str = "classifier"
    survive: str = ""

    @property
    def columns(self) -> Columns:
        return {"target": int}

    def look(self, subjects: Sequence[Sample]) -> list[Clean]:
        found = predictions(self.model, stack(self.model, subjects))
        clean = []
        for subject, prediction in zip(subjects, found, strict=True):
            label = prediction if subject.item.label is None else subject.item.label
            there = self.targeted and prediction == subject.item.target
            clean.append(
                Clean(label, prediction, self.even_wrong or (prediction == label and not there))
            )
        return clean

    def goal(self, subjects: Sequence[Sample], clean: Sequence[Clean]) -> Goal:
        device = device_of(self.model)
        if self.targeted:
            targets = torch.tensor([subject.item.target for subject in subjects], device=device)
            return surviving(Targeted(targets, self.confidence), self.survive)
        labels = torch.tensor([one.label for one in clean], device=device)
        return surviving(Untargeted(labels, self.confidence), self.survive)

    def outcome(self, subjects: Sequence[Sample], verdict: Verdict) -> list[Mapping[str, Any]]:
        after = predictions(self.model, verdict.images_8bit)
        return [
            {"prediction": prediction, "target": subject.item.target}
            for subject, prediction in zip(subjects, after, strict=True)
        ]

    def unmoved(self, subject: Sample, clean: Clean) -> Mapping[str, Any]:
        return {"prediction": clean.prediction, "target": subject.item.target}


@dataclass(frozen=True)
class TripletTask:
    """Turn round which of two images a metric calls closer to the moved reference.

    0 is left, 1 right. A triplet without a label has the choice that the metric makes; those where
    it chooses otherwise are attacked only where ``even_wrong`` says so.
    """

    model: nn.Module
    confidence: float = 0.0
    even_wrong: bool = False
    kind: str = "triplet"

    @property
    def columns(self) -> Columns:
        return {"left": str, "right": str, "distance_left": float, "distance_right": float}

    def look(self, subjects: Sequence[Sample]) -> list[Clean]:
        left, right = self._distances(subjects, stack(self.model, subjects))
        clean = []
        for subject, choice in zip(subjects, (right < left).tolist(), strict=True):
            label = int(choice) if subject.item.label is None else subject.item.label
            clean.append(Clean(label, int(choice), self.even_wrong or label == int(choice)))
        return clean

    def goal(self, subjects: Sequence[Sample], clean: Sequence[Clean]) -> Goal:
        left, right = (stack(self.model, subjects, other) for other in (0, 1))
        choice = torch.tensor([one.label for one in clean], device=device_of(self.model))
        return FlipTriplet(left, right, choice, self.confidence)

    def outcome(self, subjects: Sequence[Sample], verdict: Verdict) -> list[Mapping[str, Any]]:
        left, right = (d.tolist() for d in self._distances(subjects, verdict.images_8bit))
        return [
            {
                "prediction": int(far < near),
                **_names(subject),
                "distance_left": near,
                "distance_right": far,
            }
            for subject, near, far in zip(subjects, left, right, strict=True)
        ]

    def unmoved(self, subject: Sample, clean: Clean) -> Mapping[str, Any]:
        return {
            "prediction": clean.prediction,
            **_names(subject),
            "distance_left": None,
            "distance_right": None,
        }

    @torch.no_grad()
    def _distances(self, subjects: Sequence[Sample], images: Images) -> tuple[Tensor, Tensor]:
        left, right = (stack(self.model, subjects, other) for other in (0, 1))
        distances = torch.stack([ask(self.model, images, left), ask(self.model, images, right)], 1)
        near, far = finite(distances, "distances").unbind(1)
        return near, far


@dataclass(frozen=True)
class EmbeddingTask:
    """Move a metric's embedding of each image as far as can be, or ``beyond`` a squared distance.

    ``moved`` is the squared l2 distance of the embeddings (the metric's distance where it has no
    embedding), ``distance`` the metric's distance from the original; both of the 8-bit image.
    """

    model: nn.Module
    beyond: float = float("inf")
    kind: str = "embedding"

    @property
    def columns(self) -> Columns:
        return {"moved": float, "distance": float}

    @torch.no_grad()
    def look(self, subjects: Sequence[Sample]) -> list[Clean]:
        images = stack(self.model, subjects)
        finite(ask(self.model, images, images), "distances")  # what it cannot compare is told here
        return [Clean(None, None, True)] * len(subjects)

    def goal(self, subjects: Sequence[Sample], clean: Sequence[Clean]) -> Goal:
        return MoveEmbedding(stack(self.model, subjects), self.beyond)

    @torch.no_grad()
    def outcome(self, subjects: Sequence[Sample], verdict: Verdict) -> list[Mapping[str, Any]]:
        reference = stack(self.model, subjects)
        model = cast(Model, self.model)
        moved = MoveEmbedding(reference).scores(model, verdict.images_8bit)[:, 0].tolist()
        distances = self.model(reference, verdict.images_8bit).tolist()
        return [
            {"prediction": None, "moved": how_far, "distance": distance}
            for how_far, distance in zip(moved, distances, strict=True)
        ]

    def unmoved(self, subject: Sample, clean: Clean) -> Mapping[str, Any]:
        return {"prediction": None, "moved": 0.0, "distance": 0.0}


def on_device(task: Task, device: torch.device) -> Task:
    """The task with its model on ``device``."""
    return replace(task, model=task.model.to(device))  # type: ignore[type-var]  # tasks are dataclasses


def device_of(model: nn.Module) -> torch.device:
    """Where the weights are; the CPU for a model that has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def stack(model: nn.Module, subjects: Sequence[Sample], other: int | None = None) -> Images:
    """The images of the subjects, or the ``other`` ones, as a batch where the model is."""
    images = [subject.image if other is None else subject.others[other] for subject in subjects]
    return torch.stack(images).to(device_of(model))


@torch.no_grad()
def predictions(model: nn.Module, images: Images) -> list[int]:
    """The class that the model gives each image."""
    shown = images.contiguous(memory_format=torch.channels_last)
    classes: list[int] = logits(cast(Model, model), shown).argmax(1).tolist()
    return classes


def _names(subject: Sample) -> dict[str, str]:
    left, right = subject.item.others
    return {"left": str(left), "right": str(right)}
