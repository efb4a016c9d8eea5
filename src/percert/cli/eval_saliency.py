"""``percert eval saliency``: how far attacks move what people look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import needs, one_line_errors
from percert.cli.eval_runs import (
    Evaluation,
    ImagesOption,
    OutOption,
    PicturesOption,
    RunsArgument,
    counting,
    open_runs,
)
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.output import say, show_table

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.compare import AttackNumbers


@one_line_errors
@needs("report", sometimes=("onnx", "saliency"))
def eval_saliency(
    runs: RunsArgument,
    out: OutOption,
    images: ImagesOption = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE|FACTORY",
            help="spectral-residual (the default) or fine-grained, which need no weights; an ONNX "
            "file of a network such as U2-Net, or a TOML card of one; or package.module:factory. "
            "May be given several times.",
            show_default=False,
        ),
    ] = None,
    pictures: PicturesOption = 2,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How far do attacks move an image's saliency map, which says what draws people's eyes?

    Measured are the l1, l2 and linf distance and 1 - SSIM between the maps of each original and of
    what the attacks made of it, for images that succeed as files. The maps of OpenCV need the
    extra 'saliency', ONNX files the extra 'onnx'; no weights come with percert.

    [bold]Examples[/bold]

    percert eval saliency out/first --out out/saliency

    percert eval saliency out/first --saliency u2net.onnx --saliency fine-grained --out out/s --json
    """
    from percert.device import resolve_device
    from percert.evaluation.attack_runs.compare import as_json as plain
    from percert.evaluation.attack_runs.compare import number_attacks
    from percert.evaluation.attack_runs.saliency import (
        DISTANCES,
        create_saliency,
        lead,
        saliency_distances,
        saliency_pictures,
        saliency_section,
    )
    from percert.reports.page import write_page

    found, originals = open_runs(runs, images)
    place = str(resolve_device(device))
    names = list(dict.fromkeys(saliency or ("spectral-residual",)))
    methods = {name: create_saliency(name, place) for name in names}
    evaluation = Evaluation(out, {"eval": "saliency", "images": str(originals.resolve())}, place)
    with counting("mapping") as progress:
        measured = saliency_distances(found.rows, originals, methods, out, progress=progress)
    entries = {name: number_attacks(rows, DISTANCES) for name, rows in measured.items()}
    if not any(entries.values()):
        raise ValueError("runs: nothing was attacked in any of them")
    write_page(
        out / "report.html",
        "Saliency under attack",
        [
            saliency_section(
                name,
                number_,
                entries[name],
                measured[name],
                saliency_pictures(
                    found.rows, originals, methods[name][0], pictures, place=number_, folder=out
                ),
                out,
            )
            for number_, name in enumerate(names, 1)
        ],
        lead=lead(methods, entries),
    )
    answer = {"saliency": {name: plain(some) for name, some in entries.items()}}
    evaluation.finish("saliency", answer, as_json=as_json)
    if as_json:
        return
    _show(entries, out)


def _show(entries: "Mapping[str, Sequence[AttackNumbers]]", out: Path) -> None:
    from percert.evaluation.attack_runs.compare import number, title
    from percert.evaluation.attack_runs.saliency import DISTANCES

    for name, some in entries.items():
        say(f"{name}:")
        show_table(
            [("attack", "left"), ("images", "right"), *((title(d), "right") for d in DISTANCES)],
            [
                [entry.attack, str(entry.attacked), *(number(entry.median(d)) for d in DISTANCES)]
                for entry in some
            ],
        )
        say("")
    say("Medians of the distances between maps, of the images that succeed as files.")
    say(f"Maps to look at are in {out / 'report.html'}")
