"""Attack a classifier on one image, and show what came of it from every side."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from percert.app.images import fit, magnified, magnified_words, noticed, observers_of
from percert.app.resources import Resources
from percert.app.worker import JobRun, Worker
from percert.attacks import Targeted, Untargeted, parse_attack, run_attack
from percert.attacks.attack import Attack
from percert.attacks.catalog import CATALOG
from percert.check import did_you_mean
from percert.metrics.card import MetricCard
from percert.metrics.seen_study import NOTICED_WORDS
from percert.reports.budgets import peak_db

#: Classes that are listed, of before and after together.
LISTED = 5
#: The largest whole number and the largest other that a client may set.
LARGEST_COUNT, LARGEST_LENGTH = 100_000, 1e6
#: Attacks that cannot be stopped while they attack a single image.
UNSTOPPABLE = ("foolbox",)


@dataclass(frozen=True)
class Probability:
    """One class's probability before and after the attack (of the 8-bit image)."""

    label: int
    name: str
    before: float
    after: float


@dataclass(frozen=True)
class AttackDistance:
    """The distance of the attacked 8-bit image from the original; ``None`` if not to be had."""

    metric: str
    value: float | None
    why_not: str | None = None


@dataclass(frozen=True)
class ClassifierAttackAnswer:
    """Whether the attack reached its goal, as returned and in 8 bits, and how far it went.

    ``resolution`` (height, width) is what was attacked, ``reduced_from`` the size of the upload
    where that was larger. Of the 8-bit image: ``psnr`` in dB (``None``: unchanged), and
    ``observers``, how many people would notice (empty for pictures too small to say).
    """

    model: str
    attack: str
    label: int
    target: int | None
    success: bool
    success_8bit: bool
    prediction_before: int
    prediction_after: int
    probabilities: list[Probability]
    distances: list[AttackDistance]
    psnr: float | None
    observers: str
    resolution: tuple[int, int]
    reduced_from: tuple[int, int] | None
    model_calls: int
    seconds: float
    cut_short: bool
    says: list[str]


def attacks_offered() -> list[str]:
    """The attacks on classifiers that the server runs: all that can be stopped.

    >>> "ascent" in attacks_offered(), "foolbox" in attacks_offered()
    (True, False)
    """
    return [
        card.name
        for card in CATALOG.values()
        if "classifier" in card.goals and card.name not in UNSTOPPABLE
    ]


def checked_attack(text: str, resources: Resources) -> Attack:
    """The attack that ``text`` names, if a client may run it: no files, no downloads.

    Raises ``ValueError`` for what the catalog refuses, and for settings that would lead elsewhere.
    """
    name, _, settings = text.partition(":")
    if name in CATALOG and name not in attacks_offered():
        raise ValueError(
            f"attack {name}: not offered here; these are: {', '.join(attacks_offered())}"
        )
    if "checkpoint" in settings:
        raise ValueError(f"attack {name}: files cannot be named here, found 'checkpoint'")
    attack = parse_attack(text)[1]
    kinds = get_type_hints(type(attack))
    allowed = {card.name for card in resources.cards()} | {"squared-l2", "features"}
    for field in fields(attack):  # type: ignore[arg-type]  # attacks of the catalog are dataclasses
        value = getattr(attack, field.name)
        _check_size(f"attack {name}: {field.name}", value)
        # A choice among words of the attack's own has been checked by it, and names no metric.
        names_metric = (
            field.name in ("cost", "metric") and get_origin(kinds[field.name]) is not Literal
        )
        if names_metric and value is not None and value not in allowed:
            raise ValueError(
                f"attack {name}: {field.name}: expected one of {', '.join(sorted(allowed))}, "
                f"found {value!r}"
            )
    return attack


def _check_size(what: str, value: object) -> None:
    """Raise ``ValueError`` for a number too large for one image."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    most = LARGEST_COUNT if isinstance(value, int) else LARGEST_LENGTH
    if not abs(value) <= most:
        raise ValueError(f"{what}: expected at most {most:g}, found {value:g}")


def check_attack(worker: Worker, text: str) -> None:
    """:func:`checked_attack`, for its errors alone."""
    checked_attack(text, worker.resources)


def attack_classifier(
    run: JobRun,
    image: Tensor,
    *,
    name: str,
    text: str,
    target: int | None,
    side: int,
) -> ClassifierAttackAnswer:
    """Attack the model ``name`` on a ``(3, h, w)`` image: off what it says, or to ``target``."""
    resources = run.resources
    attack, model = checked_attack(text, resources), resources.classifier(name)
    given = image.shape[1], image.shape[2]
    image = fit(image, side)
    batch = image[None].to(resources.device)
    before = _probabilities(model, batch)
    label = int(before.argmax())
    if target is not None and not 0 <= target < len(before):
        raise ValueError(f"target: expected a class from 0 to {len(before) - 1}, found {target}")
    wanted = torch.tensor([label if target is None else target], device=batch.device)
    goal = Untargeted(wanted) if target is None else Targeted(wanted)
    result = run_attack(model, batch, goal, attack, watch=run.watch(f"attacking with {text}"))
    run.check()
    run.say("measuring")
    verdict = result.verdict
    moved = verdict.images_8bit
    after = _probabilities(model, moved)
    distances = _distances(run, batch, moved)
    _draw(run, image, moved[0].cpu())
    size = image.shape[1], image.shape[2]
    length = float((moved[0].cpu() - image).norm())
    names: Sequence[str] = getattr(model, "class_names", ())
    return ClassifierAttackAnswer(
        model=name,
        attack=text,
        label=label,
        target=target,
        success=bool(verdict.success.item()),
        success_8bit=bool(verdict.success_8bit.item()),
        prediction_before=label,
        prediction_after=int(after.argmax()),
        probabilities=_listed(before, after, names),
        distances=distances,
        psnr=peak_db(length, size) if length > 0 else None,
        observers=observers_of(image, moved[0].cpu()),
        resolution=size,
        reduced_from=None if size == given else given,
        model_calls=result.model_calls,
        seconds=result.seconds,
        cut_short=run.cut_short,
        says=_says(bool(verdict.success_8bit.item()), target, label, int(after.argmax()), names),
    )


@torch.no_grad()
def _probabilities(model: nn.Module, batch: Tensor) -> Tensor:
    scores: Tensor = model(batch)
    return scores[0].softmax(0).cpu()


def _listed(before: Tensor, after: Tensor, names: Sequence[str]) -> list[Probability]:
    """The most probable classes of before and after."""
    highest = torch.maximum(before, after).topk(min(LISTED, len(before))).indices.tolist()
    return [
        Probability(place, _called(place, names), before[place].item(), after[place].item())
        for place in highest
    ]


def _called(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else f"class {label}"


def _distances(run: JobRun, before: Tensor, after: Tensor) -> list[AttackDistance]:
    found = []
    for card in run.resources.cards():
        run.check()
        value, why_not = _measured(card, before, after, run.resources)
        found.append(AttackDistance(card.name, value, why_not))
    return found


@torch.no_grad()
def _measured(
    card: MetricCard, before: Tensor, after: Tensor, resources: Resources
) -> tuple[float | None, str | None]:
    smallest = min(before.shape[2:])
    if smallest < card.smallest_side:
        return None, f"needs {card.smallest_side} pixels a side"
    try:
        value = resources.metric(card.name)(before, after).item()
    except ValueError as error:
        return None, str(error)
    return (value, None) if abs(value) != float("inf") else (None, "infinite")


def _draw(run: JobRun, before: Tensor, after: Tensor) -> None:
    run.picture("before", before, "The image that was attacked", whole=True)
    run.picture("after", after, "The adversarial image, in 8 bits", whole=True)
    difference, times = magnified(before, after)
    run.picture("difference", difference, magnified_words(times))
    where = noticed(before, after)
    if where is not None:
        run.picture("visible", where, f"Where it would be noticed. {NOTICED_WORDS}")


def _says(
    success: bool, target: int | None, label: int, after: int, names: Sequence[str]
) -> list[str]:
    wanted = "another class" if target is None else _called(target, names)
    if success:
        return [
            f"The attack reached its goal ({wanted}): the model now says {_called(after, names)} "
            f"instead of {_called(label, names)}."
        ]
    return [f"The attack did not reach its goal ({wanted}) with a file of 8 bits."]


def class_of(text: str, names: Sequence[str]) -> int | None:
    """The class that a number or a name stands for, ``None`` for empty text; else ``ValueError``.

    >>> class_of("1", ()), class_of("Bright", ("dark", "bright")), class_of(" ", ())
    (1, 1, None)
    >>> class_of("bight", ("dark", "bright"))
    Traceback (most recent call last):
    ValueError: target: expected a class's number or name, found 'bight', did you mean 'bright'?
    """
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    known = [name.lower() for name in names]
    if text.lower() in known:
        return known.index(text.lower())
    hint = did_you_mean(text.lower(), known)
    raise ValueError(f"target: expected a class's number or name, found {text!r}{hint}")


def class_names(worker: Worker, name: str) -> tuple[str, ...]:
    """What the classifier ``name`` calls its classes; none where it does not say."""
    return tuple(getattr(worker.resources.classifier(name), "class_names", ()))


def wanted_class(worker: Worker, name: str, text: str) -> int | None:
    """:func:`class_of` the classifier ``name``."""
    return class_of(text, class_names(worker, name))
