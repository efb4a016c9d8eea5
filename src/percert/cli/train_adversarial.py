"""``percert train adversarial-dataset``: Algorithm 2."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from percert.cli.command import command_line, needs, one_line_errors, with_shared_options
from percert.cli.options import out_option
from percert.cli.output import emit_json, say, show_table
from percert.cli.train_dro import StepOptions
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.training.dro.attack import AttackTally

ROUND_COLUMNS: list[Column[dict[str, Any]]] = [
    Column("round", lambda entry: entry["round"], "d"),
    Column("images", lambda entry: entry["images"], "d"),
    Column("wrong before", lambda entry: entry["wrong"], "d"),
    Column("spared", lambda entry: entry["spared"], "d"),
    Column(
        "attacked",
        lambda entry: (
            f"{entry['attacked']}" + (f" + {entry['centres']} centres" if entry["centres"] else "")
        ),
        side="right",
    ),
    Column("adversarial", lambda entry: entry["succeeded"], "d"),
    Column("median cost", lambda entry: entry["cost"], ".3g"),
    Column("clean", lambda entry: entry["clean_accuracy"], ".3f", missing=""),
    Column("held out", lambda entry: entry["held_out_accuracy"], ".3f", missing=""),
    Column("held out, attacked", lambda entry: entry["attacked_accuracy"], ".3f", missing=""),
    Column("attack s", lambda entry: entry["attack_seconds"], ".1f"),
    Column("steps s", lambda entry: entry["step_seconds"], ".1f"),
]
#: Without a terminal, how often a line says how far it is, in seconds.
EVERY = 30.0


@one_line_errors
@needs("train")
@with_shared_options
def adversarial_dataset(
    images: Annotated[
        Path,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Labelled images: a parquet file with [bold]image[/bold] and "
            "[bold]label[/bold], a CSV with these (and [bold]split[/bold], of which train counts), "
            "a folder of MNIST's files, or one with a folder a class.",
        ),
    ],
    out: Annotated[Path, out_option("The data set. A run that was stopped goes on there.")],
    attack: Annotated[
        str | None,
        typer.Option(
            "--attack",
            metavar="NAME[:key=value,...]",
            help="[bold]percert attack list[/bold] shows all; or [bold]surrogate[/bold], the "
            "inner problem itself: surrogate:cost=ssim,lam=1,step=0.1,steps=20.",
            show_default="human-perc-ot",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="theta_0; without it weights are random."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=0, help="T1. With 0 the data set holds the clean images alone.", show_default="3"
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="PIXELS",
            help="The short side that images are resized to; the square in the middle counts. 0 "
            "takes them as they are, all of one size.",
            show_default="0",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images a step, and attacked at once.", show_default="64"),
    ] = None,
    example_weights: Annotated[
        Literal["normalised", "literal"] | None,
        typer.Option(
            help="P. literal is (k - 1) N + i as printed, which grows without bound: steps that "
            "long diverge. normalised divides by N, and by the mean in steps.",
            show_default="normalised",
        ),
    ] = None,
    origin: Annotated[
        Literal["drawn", "clean"] | None,
        typer.Option(
            help="What is attacked: the image drawn (as printed), or the clean one behind it.",
            show_default="drawn",
        ),
    ] = None,
    cluster_size: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Try the perturbation of the cluster's centre first, with about so many images a "
            "cluster (the paper: 5). 0 attacks every image.",
            show_default="0",
        ),
    ] = None,
    cluster_by: Annotated[
        Literal["model", "pixels"] | None,
        typer.Option(help="What clusters compare images by.", show_default="model"),
    ] = None,
    attack_misclassified: Annotated[
        bool | None,
        typer.Option(
            help="Attack what the model has wrong already as well.",
            show_default="no-attack-misclassified",
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC", help="The perceptual cost that is recorded.", show_default="ssim"
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images a file; a kill loses at most so many.", show_default="1024"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N images, drawn by the seed.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Where random numbers start.", show_default="0")
    ] = None,
    *,
    how: StepOptions,
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
    from percert.training.dro import AdversarialRecipe, adversarial_dataset, read_adversarial_recipe
    from percert.training.engine import Devices, launched
    from percert.training.recipe_file import with_values

    began = time.perf_counter()
    own = AdversarialRecipe() if how.recipe is None else read_adversarial_recipe(how.recipe)
    given = {
        **how.given("rounds", weights),
        "size": size,
        "attack": attack,
        "limit": limit,
        "rounds.rounds": rounds,
        "rounds.batch": batch_size,
        "rounds.weights": example_weights,
        "rounds.origin": origin,
        "rounds.cluster_size": cluster_size,
        "rounds.cluster_by": cluster_by,
        "rounds.attack_wrong": attack_misclassified,
        "rounds.cost": cost,
        "rounds.shard": shard_size,
        "rounds.seed": seed,
    }
    settings = with_values(own, given)
    command, progress = command_line(), _Progress(settings.rounds.rounds)
    with launched(Devices(how.device, how.devices, how.nodes)) as fabric:
        made = adversarial_dataset(
            settings, images, out, fabric, command=command, progress=progress
        )
        if not fabric.is_global_zero:
            return
    answer = asdict(made)
    if how.as_json:
        emit_json(answer | {"seconds": time.perf_counter() - began, "device": str(fabric.device)})
    else:
        _show(answer, out)


def _show(answer: dict[str, Any], out: Path) -> None:
    if answer["rounds"]:
        show_table(Table.of(answer["rounds"], ROUND_COLUMNS))
        say("")
    say(f"{answer['images']} images, {answer['clean']} of them clean, are in {out}")


class _Progress:
    """A line on stderr now and then, and at the end of each round."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.last = rounds, time.monotonic()

    def __call__(self, number: int, done: int, total: int, tally: "AttackTally") -> None:
        now = time.monotonic()
        if now - self.last < EVERY and done < total:
            return
        self.last = now
        Console(stderr=True, highlight=False).print(
            f"round {number} of {self.rounds}: {done} of {total} images, {tally.succeeded} "
            f"adversarial, {tally.wrong} wrong before",
            markup=False,
        )
