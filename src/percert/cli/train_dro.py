"""``percert train dro``: Algorithm 3."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from percert.cli.command import needs, one_line_errors
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption, writable_folder
from percert.cli.output import emit_json, say, show_table


@one_line_errors
@needs("train")
def dro(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="What [bold]percert train adversarial-dataset[/bold] made."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="The models. Those that are there are not trained again.",
        ),
    ],
    models: Annotated[int, typer.Option(min=1, help="How many, each with its own seed.")] = 50,
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
        typer.Option(
            "--weights",
            metavar="FILE",
            help="theta_0, from which all set out; without it each has random weights of its own.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="T2: passes over the data set.")] = 3,
    draws: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Images a pass. The default: as many as there are."),
    ] = None,
    learning_rate: Annotated[float, typer.Option(min=0, help="alpha.")] = 0.1,
    schedule: Annotated[
        Literal["constant", "cosine"], typer.Option(help="What the learning rate does.")
    ] = "constant",
    momentum: Annotated[float, typer.Option(min=0, max=1, help="Of SGD.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of SGD.")] = 5e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 64,
    example_weights: Annotated[
        Literal["normalised", "literal"] | None,
        typer.Option(help="P; the default is how the data set was made."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Models trained as one by vmap. The default is 1 on a CPU, where one after "
            "another is as fast or faster in batches of 64, and 10 on a GPU.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Devices a machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, under Slurm or torchrun.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Model i has seed SEED + i.")] = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train many models from an adversarial data set (Algorithm 3).

    Each takes T2 passes of weighted steps on images drawn in proportion to their weights, and
    becomes a file model-NUMBER.safetensors with a row in records.parquet. More models can be added
    later, and a run that was stopped goes on with those that are missing. A data set of the clean
    images alone (--rounds 0) trains undefended models in the same way.

    [bold]Examples[/bold]

    percert train dro D/ --out ours/ --models 20 --weights theta0.safetensors

    percert train dro clean/ --out start/ --models 1 --steps 30 --momentum 0.9 --schedule cosine
    """
    from percert.reports import write_run
    from percert.training.dro.dataset import open_dataset
    from percert.training.dro.train import (
        DROSettings,
        described_settings,
        full_spec,
        record_store,
        train_models,
    )
    from percert.training.engine.processes import find_place, models_of_process

    began = time.perf_counter()
    opened = open_dataset(dataset)
    spec = full_spec(model, opened.about.classes)
    settings = DROSettings(
        passes=steps,
        draws=draws or len(opened),
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        batch=batch_size,
        weights=example_weights or opened.about.weights,
        schedule=schedule,
        seed=seed,
    )
    agreed = described_settings(
        settings,
        model=spec,
        theta_0=None if weights is None else str(weights.resolve()),
        dataset=str(dataset.resolve()),
        shards=[shard.digest for shard in opened.shards],
    )
    before = _same_run(out, agreed)
    place = find_place(device, devices, nodes)
    if at_once is None:
        at_once = 10 if place.device.type == "cuda" else 1

    def note(finished: bool, **more: Any) -> None:
        write_run(
            out,
            command=["percert", *sys.argv[1:]],
            settings=agreed,
            seed=seed,
            device=str(place.device),
            seconds=before + time.perf_counter() - began,
            finished=finished,
            models=models,
            **more,
        )

    if not place.rank:
        note(finished=False)
    said = Console(stderr=True, highlight=False)
    for row in train_models(
        opened,
        spec,
        out,
        models_of_process(models, place.rank, place.world),
        settings,
        start=weights,
        device=place.device,
        at_once=at_once,
    ):
        said.print(
            f"model {row['model']} of {models}: loss {row['loss']:.4f}, {row['seconds']:.1f} s",
            markup=False,
        )
    place.wait()
    if place.rank:
        return
    rows = record_store(out).merge(lambda row: row["model"])
    note(finished=True)
    if as_json:
        emit_json(
            {
                "out": str(out),
                "device": str(place.device),
                "seconds": time.perf_counter() - began,
                "models": rows,
            }
        )
        return
    _show(rows, out)


def _show(rows: list[dict[str, Any]], out: Path) -> None:
    show_table(
        [("model", "right"), ("loss", "right"), ("clean accuracy", "right"), ("s", "right")],
        [
            [
                str(row["model"]),
                f"{row['loss']:.4f}",
                f"{row['accuracy']:.4f}",
                f"{row['seconds']:.1f}",
            ]
            for row in rows
        ],
    )
    say("")
    say("Clean accuracy is that on the data set's own clean images.")
    say(f"The models and records.parquet are in {out}")


def _same_run(out: Path, agreed: dict[str, Any]) -> float:
    """How long runs into ``out`` took so far; ``ValueError`` where they had other settings."""
    import json

    from percert.reports import read_run

    found = read_run(out)
    if found is None:
        return 0.0
    ours, theirs = json.loads(json.dumps(agreed)), found.get("settings", {})
    for key in {**theirs, **ours}:
        if ours.get(key) != theirs.get(key):
            raise ValueError(
                f"{out}: holds models with {key} {theirs.get(key)!r}, these have "
                f"{ours.get(key)!r}; give another --out"
            )
    return float(found.get("seconds") or 0.0)
