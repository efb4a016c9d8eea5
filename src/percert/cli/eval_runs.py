"""``percert eval`` of attack runs, in four ways, and ``percert report``: runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import command_line, needs, one_line_errors, warn
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption, out_option, writable_file
from percert.cli.output import emit_json, say, show_result, show_table
from percert.cli.progress import Bar
from percert.registry import name_and_file
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.reports.run_comparison import Run

RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders that [bold]percert attack[/bold] wrote."),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR|FILE",
        help="The images that were attacked; where they were then, if not given.",
    ),
]
OutOption = Annotated[
    Path,
    out_option(
        "Where report.html, its figures, records.parquet and run.json go. What was measured there "
        "before is not measured again."
    ),
]
PicturesOption = Annotated[
    int, typer.Option("--pictures", metavar="N", min=0, help="So many images to look at.")
]


@one_line_errors
@needs("report")
def eval_attacks(
    runs: RunsArgument,
    out: OutOption,
    images: ImagesOption = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="Distances to measure beside those that the runs have, of [bold]percert "
            "metrics[/bold] or psnr, which is in dB; NAME=FILE gives one its weights.",
        ),
    ] = "",
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK",
            help="The attack that the others are held against; ascent, if not given, where it is "
            "among them.",
        ),
    ] = None,
    pictures: PicturesOption = 3,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare attacks: how many succeed, how visible they are, and what they cost.

    From one or several runs of percert attack come tables of success, distances and time, on all
    images and on those on which every attack succeeded; ratios to a baseline on the same images;
    what one setting changes, where attacks differ in one; boxes and cumulative distributions of
    every distance; and pictures. They go to --out as report.html, PNG files, attacks.json and, with
    every distance of every image, records.parquet. Distances are those of 8-bit files. A run that
    still goes on is taken as far as it is.

    [bold]Examples[/bold]

    percert eval attacks out/first --metrics ms-ssim,gmsd --out out/first-report

    percert eval attacks out/a out/b --images photos/ --baseline pgd --out out/both --json | jq
    '.ratios'
    """
    from percert.evaluation.attack_runs.evaluate import compare_runs

    with Bar() as show:
        result = compare_runs(
            runs,
            out,
            images=images,
            metrics=_files(metrics),
            baseline=baseline,
            pictures=pictures,
            device=device,
            command=command_line(),
            progress=show,
        )
    show_result(result, as_json=as_json)


@one_line_errors
@needs("report", sometimes=("networks", "timm"))
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
    from percert.evaluation.attack_runs.evaluate import transfer_runs

    models = {}
    for text in model:
        spec, file = name_and_file(text)
        if spec in models:
            raise ValueError(f"--model {spec}: given twice")
        models[spec] = file
    with Bar() as show:
        result = transfer_runs(
            runs,
            out,
            models,
            images=images,
            device=device,
            command=command_line(),
            progress=show,
            warn=warn,
        )
    show_result(result, as_json=as_json)


@one_line_errors
@needs("report", sometimes=("networks", "timm"))
def eval_defences(
    runs: RunsArgument,
    out: OutOption,
    model: Annotated[
        str, typer.Option(metavar="SPEC", help="The classifier that was attacked, as it was given.")
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights instead of the model's own.")
    ] = None,
    images: ImagesOption = None,
    defence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="jpeg-QUALITY, bits-BITS, blur-SIGMA or median-SIDE; may be given several times. "
            "The default is jpeg-75, jpeg-50, bits-5, bits-4 and bits-3.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="The costs to hold against survival, each in a figure of its own; NAME=FILE "
            "gives a metric its weights.",
        ),
    ] = "ssim",
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which attacked images still fool the classifier behind JPEG compression, or fewer levels?

    For every attack of the runs: the share of its images that survives each defence, beside the
    share of unattacked images that the defence spoils; and the frontier of cost and survival, for
    attacks must be compared at equal survival, not at equal confidence. Attack with several
    confidences (NAME:confidence=5, or runs with --confidence 5) to see a curve.

    [bold]Examples[/bold]

    percert eval defences out/a0 out/a5 --model squeezenet1_0 --weights squeezenet.safetensors --out
    out/defences

    percert eval defences out/a0 --model timm:resnet50 --defence jpeg-75 --defence median-3
    --metrics ssim,gmsd --out out/d --json | jq '.survival[] | {attack, defence, share}'
    """
    from percert.evaluation.attack_runs.evaluate import DEFENCES, defend_runs

    with Bar() as show:
        result = defend_runs(
            runs,
            out,
            model,
            weights,
            images=images,
            defences=defence or DEFENCES,
            costs=_files(metrics),
            device=device,
            command=command_line(),
            progress=show,
            warn=warn,
        )
    show_result(result, as_json=as_json)


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
    from percert.evaluation.attack_runs.evaluate import saliency_runs

    with Bar() as show:
        result = saliency_runs(
            runs,
            out,
            saliency or ("spectral-residual",),
            images=images,
            pictures=pictures,
            device=device,
            command=command_line(),
            progress=show,
        )
    show_result(result, as_json=as_json)


def _files(text: str) -> dict[str, str | None]:
    """Distances by name, of a list ``NAME[=FILE],...``, each with its file of weights.

    >>> _files("l2, lpips-alex=alex.pth")
    {'l2': None, 'lpips-alex': 'alex.pth'}
    """
    return dict(name_and_file(entry) for entry in text.split(",") if entry.strip())


@one_line_errors
@needs("report")
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Folders that [bold]percert attack[/bold], [bold]eval[/bold] or [bold]audit[/bold]"
            " wrote with --out.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=writable_file, metavar="FILE", help="The page that is written."
        ),
    ] = Path("report.html"),
    as_json: JsonOption = False,
) -> None:
    """Put several runs side by side, in one page without files beside it.

    The page has what was run and where the runs differ; attacks compared on the same images; audits
    by their lines and groups; and for every other verb its columns of numbers. A run that still
    goes on is taken as far as it is.

    [bold]Examples[/bold]

    percert report out/pgd out/ours

    percert report out/* --out everything.html --json
    """
    from percert.evaluation.attack_runs.pages import join_runs
    from percert.reports.page import write_page

    joined = join_runs(folders)
    names = ", ".join(run.name for run in joined.runs)
    write_page(out, f"{len(joined.runs)} runs side by side", joined.sections, lead=names)
    if as_json:
        emit_json({"out": str(out), **joined.answer})
        return
    _show(joined.runs, out)


def _show(runs: "Sequence[Run]", out: Path) -> None:
    columns: list[Column[Run]] = [
        Column("run", lambda run: run.name),
        Column("command", lambda run: run.verb),
        Column("records", lambda run: len(run.rows), "d"),
    ]
    show_table(Table.of(runs, columns))
    say("")
    say(f"Written to {out}")
