"""``percert train adversarial-dataset``: Algorithm 2."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from percert.cli.command import needs, one_line_errors
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption, writable_folder
from percert.cli.output import emit_json, say, show_table

if TYPE_CHECKING:
    from percert.training.dro.attack import Tally
    from percert.training.dro.dataset import AdversarialDataset

#: Without a terminal, how often a line says how far it is, in seconds.
EVERY = 30.0


@one_line_errors
@needs("train")
def adversarial_dataset(
    images: Annotated[
        Path,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Labelled images of one size: a parquet file with [bold]image[/bold] and "
            "[bold]label[/bold], a folder of MNIST's files, or one with a folder a class.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="The data set. A run that was stopped goes on there.",
        ),
    ],
    attack: Annotated[
        str,
        typer.Option(
            "--attack",
            metavar="NAME[:key=value,...]",
            help="[bold]percert attack list[/bold] shows all; or [bold]surrogate[/bold], the "
            "inner problem itself: surrogate:cost=ssim,lam=1,step=0.1,steps=20.",
        ),
    ] = "human-perc-ot",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="SPEC",
            help="small-resnet[:WIDTH], or what [bold]percert attack classify[/bold] takes.",
        ),
    ] = "small-resnet",
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="theta_0; without it weights are random."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=0, help="T1. With 0 the data set holds the clean images alone.")
    ] = 3,
    learning_rate: Annotated[float, typer.Option(min=0, help="alpha.")] = 0.1,
    momentum: Annotated[float, typer.Option(min=0, max=1, help="Of SGD.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of SGD.")] = 5e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step, and attacked at once.")] = (
        64
    ),
    example_weights: Annotated[
        Literal["normalised", "literal"],
        typer.Option(
            help="P. literal is (k - 1) N + i as printed, which grows without bound: steps that "
            "long diverge. normalised divides by N, and by the mean in steps."
        ),
    ] = "normalised",
    origin: Annotated[
        Literal["drawn", "clean"],
        typer.Option(
            help="What is attacked: the image drawn (as printed), or the clean one behind it."
        ),
    ] = "drawn",
    cluster_size: Annotated[
        float,
        typer.Option(
            min=0,
            help="Try the perturbation of the cluster's centre first, with about so many images a "
            "cluster (the paper: 5). 0 attacks every image.",
        ),
    ] = 0.0,
    cluster_by: Annotated[
        Literal["model", "pixels"], typer.Option(help="What clusters compare images by.")
    ] = "model",
    attack_misclassified: Annotated[
        bool, typer.Option(help="Attack what the model has wrong already as well.")
    ] = False,
    cost: Annotated[
        str, typer.Option(metavar="METRIC", help="The perceptual cost that is recorded.")
    ] = "ssim",
    shard_size: Annotated[
        int, typer.Option(min=1, help="Images a file; a kill loses at most so many.")
    ] = 1024,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N images, drawn by the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where random numbers start.")] = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make a data set of attacks on a model that learns from them (Algorithm 2).

    In each of T1 rounds as many images as there are clean ones are drawn in proportion to their
    weights; the model takes steps on them, is attacked on them as it then is, and what comes out is
    appended. DIR holds shards of parquet with 8-bit PNG images, their weight, round, source and
    success; model.safetensors; and run.json. Data sets can be read while they grow, and a run that
    was killed ends as if it had not been.

    [bold]Examples[/bold]

    percert train adversarial-dataset --images train.parquet --out D/ --attack
    human-perc-ot:cost=ssim,steps=40 --weights theta0.safetensors --cluster-size 5

    percert train adversarial-dataset --images train.parquet --out clean/ --rounds 0
    """
    from percert.device import resolve_device
    from percert.reports import read_run, write_run
    from percert.training.dro.images import read_training_images
    from percert.training.dro.recipe import parse_solver
    from percert.training.dro.rounds import RoundSettings, make_adversarial_dataset
    from percert.training.dro.train import full_spec, save_classifier, trainable_classifier

    began = time.perf_counter()
    before = float((read_run(out) or {}).get("seconds") or 0.0)
    made = parse_solver(attack)
    found = read_training_images(images)
    if limit is not None:
        found = found.some(limit, seed)
    spec = full_spec(model, found.classes)
    where = resolve_device(device)
    settings = RoundSettings(
        rounds=rounds,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        batch=batch_size,
        weights=example_weights,
        origin=origin,
        cluster_size=cluster_size,
        cluster_by=cluster_by,
        attack_wrong=attack_misclassified,
        cost=cost,
        shard=shard_size,
        seed=seed,
    )
    described = {
        "attack": attack,
        "model": spec,
        "theta_0": None if weights is None else str(weights.resolve()),
        "images": str(images.resolve()),
        "limit": limit,
    }
    network = trainable_classifier(spec, where, seed=seed, weights=weights)
    progress = _Progress(rounds)

    def note(finished: bool, **more: Any) -> None:
        write_run(
            out,
            command=["percert", *sys.argv[1:]],
            settings=described,
            seed=seed,
            device=str(where),
            seconds=before + time.perf_counter() - began,
            finished=finished,
            **more,
        )

    dataset, tallies = make_adversarial_dataset(
        network, found, made, out, settings, described=described, progress=progress
    )
    save_classifier(network, spec, out / "model.safetensors")
    answer = _answer(dataset, tallies, out)
    note(finished=True, **answer)
    if as_json:
        emit_json(answer | {"seconds": time.perf_counter() - began, "device": str(where)})
    else:
        _show(answer, out)


def _answer(dataset: "AdversarialDataset", tallies: "list[Tally]", out: Path) -> dict[str, Any]:
    from dataclasses import asdict

    import numpy as np

    facts = dataset.facts
    rounds = []
    for tally in tallies:
        good = (facts.round == tally.round) & facts.success
        rounds.append(
            asdict(tally)
            | {
                name: float(np.median(facts.cost[rows])) if rows.any() else None
                for name, rows in (
                    ("cost", good),
                    ("cost_spared", good & facts.spared),
                    ("cost_attacked", good & ~facts.spared),
                )
            }
        )
    return {
        "out": str(out),
        "images": len(dataset),
        "clean": dataset.about.count,
        "classes": dataset.about.classes,
        "rounds": rounds,
    }


def _show(answer: dict[str, Any], out: Path) -> None:
    if answer["rounds"]:
        show_table(
            [
                (name, "right")
                for name in (
                    "round",
                    "images",
                    "wrong before",
                    "spared",
                    "attacked",
                    "adversarial",
                    "median cost",
                    "attack s",
                    "steps s",
                )
            ],
            [
                [
                    str(entry["round"]),
                    str(entry["images"]),
                    str(entry["wrong"]),
                    str(entry["spared"]),
                    str(entry["attacked"])
                    + (f" + {entry['centres']} centres" if entry["centres"] else ""),
                    str(entry["succeeded"]),
                    "-" if entry["cost"] is None else f"{entry['cost']:.3g}",
                    f"{entry['attack_seconds']:.1f}",
                    f"{entry['step_seconds']:.1f}",
                ]
                for entry in answer["rounds"]
            ],
        )
        say("")
    say(f"{answer['images']} images, {answer['clean']} of them clean, are in {out}")


class _Progress:
    """A line on stderr now and then, and at the end of each round."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.last = rounds, time.monotonic()

    def __call__(self, number: int, done: int, total: int, tally: "Tally") -> None:
        now = time.monotonic()
        if now - self.last < EVERY and done < total:
            return
        self.last = now
        Console(stderr=True, highlight=False).print(
            f"round {number} of {self.rounds}: {done} of {total} images, {tally.succeeded} "
            f"adversarial, {tally.wrong} wrong before",
            markup=False,
        )
