"""Algorithm 2: rounds of drawing from D, stepping, attacking the model as it is, appending to D.

*Human Imperceptible Attacks and Applications to Improve Fairness*, section 4. In batches: a step on
``batch`` drawn images, then the attack on the same ones. Killed and started again it ends in the
same bytes on the same machine: model, optimiser and place are kept with every shard.

Several processes share each batch, its step and its attacks, and all hold the same model; the first
writes. To rounding, D is that of one process, but that batch normalisation sees a part of a batch.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from percert.attacks import Attack
from percert.attacks.goal import NonFiniteScores
from percert.attacks.transport.cost import cost_of, cost_values
from percert.training.dro.accuracy import HeldOut, held_out_accuracy, share_right
from percert.training.dro.attack import AttackTally, Centres, Clusters, attack_batch, attack_centres
from percert.training.dro.dataset import SHARDS, AdversarialDataset, DatasetInfo, open_dataset
from percert.training.dro.images import TrainingImages, to_bytes, to_float
from percert.training.dro.recipe import RoundSettings
from percert.training.dro.resume import (
    STATE,
    State,
    begin,
    centres_name,
    clusters_of,
    drop_unfinished,
)
from percert.training.dro.shards import Facts, joined, write_shard
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
from percert.training.engine.collective import Collective

#: Called after every batch with the round, images done in it, images in all, and its tally.
Progress = Callable[[int, int, int, AttackTally], None]


def make_adversarial_dataset(
    model: nn.Module,
    images: TrainingImages,
    attack: Attack,
    folder: Path,
    settings: RoundSettings,
    *,
    described: dict[str, Any] | None = None,
    held: HeldOut | None = None,
    fabric: Any = None,
    progress: Progress | None = None,
) -> tuple[AdversarialDataset, list[AttackTally]]:
    """Algorithm 2: train ``model`` (in place) in T1 rounds, and make D in ``folder`` of ``images``.

    Goes on where a run with the same settings was stopped; ``described`` is what else must be the
    same (the model's name, the attack); ``held`` are images on which it is judged after each round.
    Steps are taken in training mode, attacks meet the model in evaluation mode. The processes of a
    launched ``fabric``, all of which call this, share the work; they must see the same ``folder``.

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
    group = Collective(fabric)
    if group.first:
        begin(folder, about, images, settings.shard)
    group.wait()
    dataset = open_dataset(folder)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    clusters = clusters_of(folder, model, dataset, settings, group)
    clean = -(-count // settings.shard)
    state = State(1, 0, clean, [])
    state = state.load(folder / STATE, model, optimiser)
    if group.first:
        drop_unfinished(folder, state.shards)
    group.wait()
    dataset = open_dataset(folder)
    for number in range(state.round, settings.rounds + 1):
        tally = state.tallies[-1] if state.done else AttackTally(number)
        work = _Round(number, model, optimiser, attack, dataset, settings, tally, group)
        work.centre(clusters)
        for start in range(state.done, count, settings.shard):
            pixels, facts = work.rows(start, min(start + settings.shard, count), progress)
            if group.first:
                write_shard(folder / SHARDS, state.shards, pixels, facts)
            tallies = [*(t for t in state.tallies if t.round < number), replace(tally)]
            done = min(start + settings.shard, count)
            state = State(number, done, state.shards + 1, tallies)
            if group.first:
                state.save(folder / STATE, model, optimiser)
        last = _judged(state.tallies[-1], model, dataset, held)
        state = State(number + 1, 0, state.shards, [*state.tallies[:-1], last])
        if group.first:
            state.save(folder / STATE, model, optimiser)
            (folder / centres_name(number)).unlink(missing_ok=True)
        group.wait()
        dataset.refresh()
    model.eval()
    return dataset, state.tallies


def _judged(
    tally: AttackTally, model: nn.Module, dataset: AdversarialDataset, held: HeldOut | None
) -> AttackTally:
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
    tally: AttackTally
    group: Collective = field(default_factory=Collective)
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
        tally = AttackTally(self.number) if self.tally.centres else self.tally
        self.centres = attack_centres(
            self.attack,
            self.model,
            self.dataset.read(clusters.centre),
            torch.from_numpy(self.dataset.facts.label[clusters.centre]),
            clusters,
            self.dataset.folder / centres_name(self.number),
            seeds=torch.from_numpy(seeds),
            batch=self.settings.batch,
            tally=tally,
            group=self.group,
        )

    def rows(self, start: int, end: int, progress: Progress | None) -> tuple[Bytes, Facts]:
        """Steps and attacks on the draws ``start`` to ``end``: their new images and facts."""
        pixels, facts = [], []
        for at in range(start, end, self.settings.batch):
            some = np.arange(at, min(at + self.settings.batch, end))
            made, known = self.one_batch(some)
            pixels.append(made)
            facts.append(known)
            if progress is not None and self.group.first:
                progress(self.number, int(some[-1]) + 1, len(self.drawn), self.tally)
        return np.concatenate(pixels), joined(facts)

    def one_batch(self, places: Ints) -> tuple[Bytes, Facts]:
        """One step and the attack after it, each process on its part of ``places``."""
        mine = self.group.part(places)
        rows = self.drawn[mine]
        images = to_float(self.dataset.read(rows), self.device)
        labels = torch.from_numpy(self.dataset.facts.label[rows]).to(self.device)
        own = AttackTally(self.number)
        self.step(images, labels, torch.from_numpy(self.step_weights[rows]), places, own)
        made = self.attacked(images, labels, mine, own)
        pixels, facts, tallies = zip(*self.group.gathered((*made, own)), strict=True)
        self.tally.add(tallies)
        return np.concatenate(pixels), joined(list(facts))

    def attacked(
        self, images: Tensor, labels: Tensor, places: Ints, tally: AttackTally
    ) -> tuple[Bytes, Facts]:
        """What the attack makes of the images drawn at ``places``, and the facts of it."""
        facts = self.dataset.facts.select(self.drawn[places])
        if not len(places):  # a last batch of fewer images than processes
            return to_bytes(images), facts
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
                tally=tally,
                change=self.centres.of(facts.source, images) if self.centres else None,
                attack_wrong=self.settings.attack_wrong,
            )
        except NonFiniteScores as error:  # the step before went too far
            raise self.diverged(f"not finite any more ({error})") from error
        cost = cost_values(
            cost_of(self.settings.cost, images, model=self.model), source, found.images
        )
        number, count = np.full(len(places), self.number), self.dataset.about.count
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

    def step(
        self, images: Tensor, labels: Tensor, weights: Tensor, places: Ints, tally: AttackTally
    ) -> None:
        """theta <- theta - alpha mean of P_i loss_i' over all ``places`` (line 5).

        ``images`` are the part of this process. Random numbers are those of the batch's first
        place; each image gets the same ones, whoever augments it.
        """
        began = time.perf_counter()
        settings, group = self.settings, self.group
        self.optimiser.zero_grad()
        if len(images):
            drawn = stream(settings.seed, 5, self.number, int(places[0]))
            if settings.augment != "none":
                drawn.random((int((places < group.part(places)[0]).sum()), 3))
            seen = augment(images, settings.augment, drawn)
            self.model.train()
            with torch.random.fork_rng(), precision_of(settings.precision, self.device):
                # Of dropout: a run may be resumed.
                torch.manual_seed(int(drawn.integers(0, 2**62)) + group.rank)
                scores = self.model(seen).float()
            loss = weighted_loss(scores, labels, weights.to(scores)) * (len(images) / len(places))
            if not torch.isfinite(loss):
                raise self.diverged(str(loss.item()))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        group.sum_gradients(self.model)
        self.optimiser.step()
        group.average_statistics(self.model)
        self.model.eval()
        tally.step_seconds += time.perf_counter() - began

    def diverged(self, found: str) -> ValueError:
        hint = "; weights: normalised keeps steps short" * (self.settings.weights == "literal")
        return ValueError(f"round {self.number}: the loss is {found}{hint}")
