"""``percert eval transfer``: whether attacked images fool other classifiers too."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_runs import (
    Evaluation,
    ImagesOption,
    OutOption,
    RunsArgument,
    counting,
    only_classifiers,
    open_runs,
)
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.output import say, show_table

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.transfer import Transfer


@one_line_errors
@needs(
    "report",
    sometimes=(
        "networks",
        "timm",
    ),
)
def eval_transfer(
    runs: RunsArgument,
    out: OutOption,
    model: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC[=FILE]",
            help="A classifier, as for percert attack classify, perhaps with a file of weights; "
            "may be given several times.",
        ),
    ],
    images: ImagesOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Do images made against one classifier fool others?

    Every image that succeeded as a file is shown to each model. What counts is the share that the
    model has right before the attack and wrong after it. All models must number their classes as
    the attacked one does. Runs against several classifiers make a whole matrix.

    [bold]Examples[/bold]

    percert eval transfer out/first --model timm:resnet18 --model timm:vit_tiny_patch16_224 --out
    out/transfer

    percert eval transfer out/first --model squeezenet1_0=squeezenet.safetensors --out out/t --json
    """
    from percert.device import resolve_device
    from percert.evaluation.attack_runs.distances import CLEAN
    from percert.evaluation.attack_runs.transfer import (
        transfer_sections,
        transferred_predictions,
        transfers,
    )
    from percert.lipschitz.network import weights_hash
    from percert.models import load_classifier
    from percert.reports.page import write_page

    found, originals = open_runs(runs, images)
    only_classifiers(found, "transfer")
    place = str(resolve_device(device))
    models, hashes = {}, {}
    for text in model:
        spec, _, file = text.partition("=")
        if spec in models:
            raise ValueError(f"--model {spec}: given twice")
        models[spec] = load_classifier(spec, place, file or None)
        hashes[spec] = weights_hash(models[spec])[:16]
    settings = {"eval": "transfer", "images": str(originals.resolve())}
    evaluation = Evaluation(out, settings, place)
    with counting("showing") as progress:
        said = transferred_predictions(
            found.rows, originals, models, hashes, out, progress=progress
        )
    entries = transfers(found.rows, said, list(models))
    if not entries:
        raise ValueError("runs: no attack succeeded in any of them, there is nothing to transfer")
    labels = {row["image"]: row["label"] for row in found.rows}
    clean = [key for key in said if key[0] == CLEAN]
    accuracy = {}
    for name in models:
        mine = [key for key in clean if key[2] == name]
        right = sum(said[key]["prediction"] == labels[key[1]] for key in mine)
        accuracy[name] = right / len(mine)
        if right == 0:
            complain(
                f"warning: {name} has none of the {len(mine)} originals right: does it number its "
                "classes as the attacked model does?"
            )
    write_page(
        out / "report.html",
        "Transfer of attacks",
        transfer_sections(entries, accuracy, out),
        lead=f"{len({entry.attack for entry in entries})} attacks, shown to {', '.join(models)}.",
    )
    answer = {"accuracy": accuracy, "transfer": [entry.answer() for entry in entries]}
    evaluation.finish("transfer", answer, as_json=as_json)
    if as_json:
        return
    _show(entries, models, out)


def _show(entries: "list[Transfer]", models: Iterable[str], out: Path) -> None:
    names = list(models)
    by_key = {(entry.attack, entry.model): entry for entry in entries}
    show_table(
        [("attack", "left"), ("made against", "left"), *((name, "right") for name in names)],
        [
            [
                attack,
                by_key[attack, names[0]].source,
                *(
                    "-" if entry.share is None else f"{entry.share:.2f} of {entry.right}"
                    for entry in (by_key[attack, name] for name in names)
                ),
            ]
            for attack in dict.fromkeys(entry.attack for entry in entries)
        ],
    )
    say("")
    say("Shares of the images that a model has right before the attack and wrong after it.")
    say(f"The matrix is in {out / 'report.html'}")
