"""Algorithm 3: many classifiers trained on one D, each with its own seed.

*Human Imperceptible Attacks and Applications to Improve Fairness*, section 4: T2 passes of as many
draws from D as it has images, in proportion to P, each a step weighted by P. The models are a
sample of what training on D gives; the audit compares such samples.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.files import replacing
from percert.models import PreparedClassifier, load_classifier, shipped_cards
from percert.models.load import PACKAGES
from percert.reports.records import Columns, RecordStore, Row
from percert.training.dro.accuracy import HeldOut, held_out_accuracy, share_right
from percert.training.dro.dataset import AdversarialDataset, read_in_order
from percert.training.dro.images import to_float
from percert.training.dro.recipe import DROSettings
from percert.training.dro.steps import augment, precision_of
from percert.training.dro.weighting import SequentialSGD, SGDSettings, StackedSGD, can_stack, stream

#: What stands for ``percert.models.small_resnet`` with as many classes as the data have.
SMALL = "small-resnet"


def full_spec(spec: str, classes: int) -> str:
    """``small-resnet`` or ``small-resnet:WIDTH`` as what ``load_classifier`` knows.

    Every other name is left as it is. Raises ``ValueError`` for a width that is no number.

    >>> full_spec("small-resnet:8", 10)
    'percert.models.small_resnet:classes10_width8'
    """
    name, _, width = spec.partition(":")
    if name != SMALL:
        return spec
    if width and not width.isdigit():
        raise ValueError(f"model: expected {SMALL}:WIDTH, such as {SMALL}:16, found {spec!r}")
    return f"percert.models.small_resnet:classes{classes}_width{int(width or 16)}"


def trainable_classifier(
    spec: str, device: str | torch.device = "cpu", *, seed: int = 0, weights: Path | None = None
) -> nn.Module:
    """The classifier that ``spec`` names (``load_classifier``), to be trained.

    With the ``weights`` of a file, or random ones that ``seed`` decides where the name has none.
    The caller's random numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load_classifier(spec, device, weights)
    return model.requires_grad_(True)


def save_classifier(model: nn.Module, spec: str, path: Path) -> None:
    """Write the weights as safetensors that ``load_classifier(spec, weights=path)`` takes.

    Whole or not at all.
    """
    inner = isinstance(model, PreparedClassifier) and (
        spec.endswith(".toml") or spec in shipped_cards() or spec.partition(":")[0] in PACKAGES
    )
    holder = model.network if inner else model
    assert isinstance(holder, nn.Module)
    state = {name: value.detach().cpu().contiguous() for name, value in holder.state_dict().items()}
    with replacing(path) as unfinished:
        save_file(state, unfinished)


#: Called with (model's number, images seen, images in all, mean loss lately).
Progress = Callable[[int, int, int, float], None]
COLUMNS: Columns = {
    "model": int,
    "seed": int,
    "file": str,
    "images": int,
    "loss": float,
    "accuracy": float,
    "seconds": float,
    "together": int,
}
#: What is added where images are held out.
JUDGED: Columns = {"held_out_accuracy": float, "attacked_accuracy": float}


def train_group(
    dataset: AdversarialDataset,
    models: list[nn.Module],
    numbers: Sequence[int],
    settings: DROSettings,
    *,
    together: bool,
    progress: Progress | None = None,
) -> Tensor:
    """Train ``models`` in place, with the draws of model ``numbers``; their last mean losses.

    All at once by vmap, or each by itself: the same to rounding. The draws of a model depend on its
    seed alone. Raises ``ValueError`` where a loss stops being a number.
    """
    draws = settings.draws or len(dataset)
    sampler, scale = dataset.draws(settings.weights)
    weights = dataset.weights(settings.weights) * scale
    where = next(models[0].parameters()).device
    descent = SGDSettings(settings.momentum, settings.weight_decay)
    steps = -(-draws // settings.batch)
    groups = (
        [(models, list(numbers))]
        if together
        else [([m], [k]) for m, k in zip(models, numbers, strict=True)]
    )
    found = []
    for some, some_numbers in groups:
        for model in some:
            model.train()
        stepper = StackedSGD(some, descent) if together else SequentialSGD(some, descent)
        sums = torch.zeros(len(some), device=where)
        done = 0
        for turn in range(settings.passes):
            rows = np.stack(
                [
                    sampler.draw(draws, stream(settings.seed + number, 4, turn))
                    for number in some_numbers
                ]
            )
            sums.zero_()
            for images, chosen in read_in_order(dataset, rows, settings.batch):
                rate = _rate(settings, done / (steps * settings.passes))
                pixels = to_float(images.reshape(-1, *images.shape[2:]), where)
                if settings.augment != "none":
                    seeds = [stream(settings.seed + number, 6, done) for number in some_numbers]
                    parts = zip(pixels.view(images.shape), seeds, strict=True)
                    pixels = torch.cat([augment(p, settings.augment, s) for p, s in parts])
                with precision_of(settings.precision, where):
                    losses = stepper.step(
                        pixels.view(images.shape),
                        torch.from_numpy(dataset.facts.label[chosen]).to(where),
                        torch.from_numpy(weights[chosen]).float().to(where),
                        rate,
                    ).float()
                sums += losses / steps
                done += 1
                if done % 50 == 0 or done == steps * settings.passes:
                    _check(losses, some_numbers, dataset, settings)
                    if progress is not None:
                        seen = min(done * settings.batch, draws * settings.passes)
                        mean = float(losses.mean())
                        progress(some_numbers[0], seen, draws * settings.passes, mean)
        stepper.finish()
        for model in some:
            model.eval()
        found.append(sums.cpu())
    return torch.cat(found)


def train_models(
    dataset: AdversarialDataset,
    spec: str,
    folder: Path,
    numbers: Sequence[int],
    settings: DROSettings,
    *,
    start: Path | None = None,
    device: str | torch.device = "cpu",
    at_once: int = 1,
    held: HeldOut | None = None,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Algorithm 3 for the models ``numbers``: trained, saved in ``folder``, recorded; yields rows.

    A model that is recorded and there is not trained again. ``start`` is theta_0, from which all
    set out; without it each starts from random weights of its own seed. ``at_once`` models are
    trained together. A group that was interrupted starts over: its models are as they would be.
    """
    store = record_store(folder, judged=held is not None)
    done = {row["model"] for row in store.rows() if (folder / row["file"]).is_file()}
    missing = [number for number in numbers if number not in done]
    for first in range(0, len(missing), at_once):
        group = missing[first : first + at_once]
        began = time.perf_counter()
        models = [
            trainable_classifier(spec, device, seed=settings.seed + number, weights=start)
            for number in group
        ]
        together = at_once > 1 and can_stack(models[0])
        losses = train_group(dataset, models, group, settings, together=together, progress=progress)
        took = (time.perf_counter() - began) / len(group)
        draws = (settings.draws or len(dataset)) * settings.passes
        for number, model, loss in zip(group, models, losses.tolist(), strict=True):
            file = f"model-{number:04d}.safetensors"
            save_classifier(model, spec, folder / file)
            row = {
                "model": number,
                "seed": settings.seed + number,
                "file": file,
                "images": draws,
                "loss": loss,
                "accuracy": clean_accuracy(dataset, model),
                "seconds": took,
                "together": len(group) if together else 1,
            }
            if held is not None:
                row |= dict(zip(JUDGED, held_out_accuracy(model, held), strict=True))
            store.append([row])
            yield row


def record_store(folder: Path, *, judged: bool = False) -> RecordStore:
    """The records of the models in ``folder``, one row a model; ``judged``: on held-out images."""
    return RecordStore(folder, {**COLUMNS, **(JUDGED if judged else {})}, key=("model",))


def clean_accuracy(dataset: AdversarialDataset, model: nn.Module) -> float:
    """The share that ``model`` has right of the clean images of D: the first 2,000 of them."""
    return share_right(model, dataset.read, dataset.facts.label[: dataset.about.count])


def _rate(settings: DROSettings, done: float) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _check(
    losses: Tensor, numbers: Sequence[int], dataset: AdversarialDataset, settings: DROSettings
) -> None:
    if not torch.isfinite(losses).all():
        bad = numbers[int((~torch.isfinite(losses)).nonzero()[0])]
        literal = (settings.weights or dataset.about.weights) == "literal"
        hint = "; weights: normalised keeps steps short" * literal
        raise ValueError(f"model {bad}: the loss is not a number{hint}")
