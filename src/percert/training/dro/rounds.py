"""Algorithm 2: rounds of drawing from D, stepping, attacking the model as it is, appending to D.

*Human Imperceptible Attacks and Applications to Improve Fairness*, section 4. In batches: a step on
``batch`` drawn images, then the attack on the same ones. Killed and started again it ends in the
same bytes on the same machine: model, optimiser and place are kept with every shard.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from percert.attacks import Attack
from percert.attacks.goal import NonFiniteScores
from percert.attacks.transport.cost import cost_of, cost_values
from percert.files import replacing
from percert.reports.records import check_same_settings
from percert.training.dro.accuracy import HeldOut, held_out_accuracy, share_right
from percert.training.dro.attack import (
    Centres,
    Clusters,
    Tally,
    attack_batch,
    attack_centres,
    cluster_images,
    embedding_of,
)
from percert.training.dro.dataset import (
    SHARDS,
    AdversarialDataset,
    DatasetInfo,
    open_dataset,
    read_info,
    write_info,
)
from percert.training.dro.images import TrainingImages, to_bytes, to_float
from percert.training.dro.recipe import RoundSettings
from percert.training.dro.shards import Facts, clean_facts, joined, list_shards, write_shard
from percert.training.dro.steps import augment, precision_of
from percert.training.dro.weighting import (
    Bytes,
    Ints,
    WeightedSampler,
    example_weights,
    step_scale,
    stream,
    weighted_loss,
)

STATE = "state.pt"
#: Called after every batch with the round, images done in it, images in all, and its tally.
Progress = Callable[[int, int, int, Tally], None]


def make_adversarial_dataset(
    model: nn.Module,
    images: TrainingImages,
    attack: Attack,
    folder: Path,
    settings: RoundSettings,
    *,
    described: dict[str, Any] | None = None,
    held: HeldOut | None = None,
    progress: Progress | None = None,
) -> tuple[AdversarialDataset, list[Tally]]:
    """Algorithm 2: train ``model`` (in place) in T1 rounds, and make D in ``folder`` of ``images``.

    Goes on where a run with the same settings was stopped; ``described`` is what else must be the
    same (the model's name, the attack); ``held`` are images on which it is judged after each round.
    Steps are taken in training mode, attacks meet the model in evaluation mode.

    Returns D and what each round took. Raises ``ValueError`` for a folder with another D, and where
    the loss stops being a number, as with literal weights it does.
    """
    count = len(images)
    about = DatasetInfo(
        count,
        images.size,
        images.classes,
        settings.weights,
        json.loads(json.dumps({**asdict(settings), **(described or {})})),
    )
    _begin(folder, about, images, settings.shard)
    dataset = open_dataset(folder)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    clusters = _clusters(folder, model, dataset, settings)
    clean = -(-count // settings.shard)
    state = _State(1, 0, clean, [])
    state = state.load(folder / STATE, model, optimiser)
    _drop_unfinished(folder, state.shards)
    dataset = open_dataset(folder)
    for number in range(state.round, settings.rounds + 1):
        tally = state.tallies[-1] if state.done else Tally(number)
        work = _Round(number, model, optimiser, attack, dataset, settings, tally)
        work.centre(clusters)
        for start in range(state.done, count, settings.shard):
            pixels, facts = work.rows(start, min(start + settings.shard, count), progress)
            write_shard(folder / SHARDS, state.shards, pixels, facts)
            tallies = [*(t for t in state.tallies if t.round < number), replace(tally)]
            done = min(start + settings.shard, count)
            state = _State(number, done, state.shards + 1, tallies)
            state.save(folder / STATE, model, optimiser)
        last = _judged(state.tallies[-1], model, dataset, held)
        state = _State(number + 1, 0, state.shards, [*state.tallies[:-1], last])
        state.save(folder / STATE, model, optimiser)
        (folder / _centres_name(number)).unlink(missing_ok=True)
        dataset.refresh()
    model.eval()
    return dataset, state.tallies


def _judged(
    tally: Tally, model: nn.Module, dataset: AdversarialDataset, held: HeldOut | None
) -> Tally:
    """The tally with the accuracies of the model at the end of its round."""
    labels = dataset.facts.label[: dataset.about.count]
    tally = replace(tally, clean_accuracy=share_right(model, dataset.read, labels))
    if held is None:
        return tally
    held_out, attacked = held_out_accuracy(model, held)
    return replace(tally, held_out_accuracy=held_out, attacked_accuracy=attacked)


@dataclass(eq=False)
class _Round:
    """One round: what is drawn for it is decided at its start, from the D of the rounds before."""

    number: int
    model: nn.Module
    optimiser: torch.optim.Optimizer
    attack: Attack
    dataset: AdversarialDataset
    settings: RoundSettings
    tally: Tally
    centres: Centres | None = None

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        count = self.dataset.about.count
        before = int((self.dataset.facts.round < self.number).sum())
        weights = self.dataset.facts.weight[:before]
        self.drawn = WeightedSampler(weights).draw(
            count, stream(self.settings.seed, 1, self.number)
        )
        self.step_weights = weights * step_scale(weights, self.settings.weights)
        self.seeds = torch.from_numpy(
            stream(self.settings.seed, 2, self.number).integers(0, 2**62, count)
        )

    def centre(self, clusters: Clusters | None) -> None:
        """Attack the clusters' centres anew, with the model at the start of the round."""
        if clusters is None:
            return
        seeds = stream(self.settings.seed, 3, self.number).integers(0, 2**62, len(clusters))
        # Of a run that goes on, the tally has them already.
        tally = Tally(self.number) if self.tally.centres else self.tally
        self.centres = attack_centres(
            self.attack,
            self.model,
            self.dataset.read(clusters.centre),
            torch.from_numpy(self.dataset.facts.label[clusters.centre]),
            clusters,
            self.dataset.folder / _centres_name(self.number),
            seeds=torch.from_numpy(seeds),
            batch=self.settings.batch,
            tally=tally,
        )

    def rows(self, start: int, end: int, progress: Progress | None) -> tuple[Bytes, Facts]:
        """Steps and attacks on the draws ``start`` to ``end``: their new images and facts."""
        pixels, facts = [], []
        for at in range(start, end, self.settings.batch):
            some = np.arange(at, min(at + self.settings.batch, end))
            made, known = self.one_batch(some)
            pixels.append(made)
            facts.append(known)
            if progress is not None:
                progress(self.number, int(some[-1]) + 1, len(self.drawn), self.tally)
        return np.concatenate(pixels), joined(facts)

    def one_batch(self, places: Ints) -> tuple[Bytes, Facts]:
        rows = self.drawn[places]
        facts = self.dataset.facts.select(rows)
        images = to_float(self.dataset.read(rows), self.device)
        labels = torch.from_numpy(facts.label).to(self.device)
        self.step(images, labels, torch.from_numpy(self.step_weights[rows]), int(places[0]))
        source = images
        if (facts.round > 0).any():
            source = to_float(self.dataset.read(facts.source), self.device)
        try:
            found = attack_batch(
                self.attack,
                self.model,
                source if self.settings.origin == "clean" else images,
                labels,
                seeds=self.seeds[torch.from_numpy(places)],
                tally=self.tally,
                change=self.centres.of(facts.source, images) if self.centres else None,
                attack_wrong=self.settings.attack_wrong,
            )
        except NonFiniteScores as error:  # the step before went too far
            raise self.diverged(f"not finite any more ({error})") from error
        cost = cost_values(
            cost_of(self.settings.cost, images, model=self.model), source, found.images
        )
        number, count = np.full(len(rows), self.number), self.dataset.about.count
        return to_bytes(found.images), Facts(
            label=facts.label,
            weight=example_weights(number, places + 1, count, self.settings.weights),
            round=number,
            position=places + 1,
            source=facts.source,
            success=found.success.cpu().numpy(),
            wrong=found.wrong.cpu().numpy(),
            spared=found.spared.cpu().numpy(),
            cost=cost.double().cpu().numpy(),
        )

    def step(self, images: Tensor, labels: Tensor, weights: Tensor, place: int) -> None:
        """theta <- theta - alpha mean of P_i loss_i' (line 5); random numbers are ``place``'s."""
        began = time.perf_counter()
        settings = self.settings
        drawn = stream(settings.seed, 5, self.number, place)
        seen = augment(images, settings.augment, drawn)
        self.model.train()
        with torch.random.fork_rng(), precision_of(settings.precision, self.device):
            torch.manual_seed(int(drawn.integers(0, 2**62)))  # of dropout: a run may be resumed
            scores = self.model(seen).float()
        loss = weighted_loss(scores, labels, weights.to(scores))
        if not torch.isfinite(loss):
            raise self.diverged(str(loss.item()))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimiser.step()
        self.model.eval()
        self.tally.step_seconds += time.perf_counter() - began

    def diverged(self, found: str) -> ValueError:
        hint = "; weights: normalised keeps steps short" * (self.settings.weights == "literal")
        return ValueError(f"round {self.number}: the loss is {found}{hint}")


@dataclass(frozen=True)
class _State:
    """The checkpoint of a run: ``done`` images of ``round``, and the number of valid ``shards``."""

    round: int
    done: int
    shards: int
    tallies: list[Tally]

    def save(self, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        held = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        with replacing(path) as unfinished:
            torch.save({**asdict(self), **held}, unfinished)

    def load(self, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> "_State":
        """The checkpoint at ``path``, put into model and optimiser; ``self`` without one."""
        if not path.exists():
            return self
        kept = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(kept.pop("model"))
        optimiser.load_state_dict(kept.pop("optimiser"))
        return _State(**kept | {"tallies": [Tally(**tally) for tally in kept["tallies"]]})


def _begin(folder: Path, about: DatasetInfo, images: TrainingImages, shard: int) -> None:
    """Write ``dataset.json`` and the clean images of D, as far as they are not there."""
    found = read_info(folder)
    if found is None:
        if folder.exists() and any(folder.glob(f"{SHARDS}/*")):
            raise ValueError(f"{folder}: holds shards of unknown origin; give another folder")
        write_info(folder, about)
    elif found != about:
        ours, theirs = asdict(about), asdict(found)
        ours, theirs = ours | ours.pop("settings"), theirs | theirs.pop("settings")
        check_same_settings(folder, theirs, ours, holds="a data set")
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    for number in range(len(list_shards(folder / SHARDS)), -(-about.count // shard)):
        rows = np.arange(number * shard, min((number + 1) * shard, about.count))
        pixels = images.read(rows)
        write_shard(folder / SHARDS, number, pixels, clean_facts(images.labels[rows], int(rows[0])))


def _drop_unfinished(folder: Path, kept: int) -> None:
    """Remove shards that were written after the last state: they are made again."""
    for shard in list_shards(folder / SHARDS)[kept:]:
        shard.path.unlink()


def _clusters(
    folder: Path, model: nn.Module, dataset: AdversarialDataset, settings: RoundSettings
) -> Clusters | None:
    """The clusters of the clean images under the model at the start; kept in the folder."""
    if not settings.cluster_size:
        return None
    path = folder / "clusters.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return Clusters(kept["member"], kept["centre"])
    embed = embedding_of(model) if settings.cluster_by == "model" else None
    where = next(model.parameters()).device

    def features(rows: Ints) -> Any:
        parts = []
        for start in range(0, len(rows), 256):
            pixels = to_float(dataset.read(rows[start : start + 256]), where)
            values = pixels if embed is None else embed(pixels)
            parts.append(values.detach().flatten(1).cpu().numpy())
        return np.concatenate(parts)

    found = cluster_images(
        features,
        dataset.facts.label[: dataset.about.count],
        size=settings.cluster_size,
        seed=settings.seed,
    )
    with replacing(path) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, member=found.member, centre=found.centre)
    return found


def _centres_name(number: int) -> str:
    return f"centres-{number:04d}.safetensors"
