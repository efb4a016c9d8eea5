"""``percert export``: a trained network as files for others."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.failure import one_line_errors
from percert.cli.needs import needs
from percert.cli.options import JsonOption
from percert.cli.output import emit_json, say
from percert.cli.writable import writable_folder


class ExportFormat(str, Enum):
    """What is written."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    HF = "hf"


@one_line_errors
@needs(sometimes=("hub", "onnx"))
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The folder of a finished run or an export, hf-hub:OWNER/NAME, or lipsim-tiny.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", callback=writable_folder, metavar="DIR", help="Where the files go."),
    ],
    format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="safetensors: weights and card. onnx: images of the network's size to embeddings. "
            "hf: the layout of a Hugging Face repository.",
        ),
    ] = ExportFormat.SAFETENSORS,
    licence: Annotated[
        str,
        typer.Option("--licence", metavar="SPDX", help="Of the weights, for the hf layout."),
    ] = "other",
    as_json: JsonOption = False,
) -> None:
    """Write a trained network as safetensors, as ONNX, or as a Hugging Face repository.

    The folders of safetensors and hf are metrics by their path, here and in create_metric; pushed
    to the hub, so is hf-hub:OWNER/NAME. The card holds a hash of the weights, which loading checks.

    [bold]Examples[/bold]

    percert export runs/night --out exported

    percert export runs/night --format hf --licence apache-2.0 --out my-metric

    percert compare photo.jpg copy.jpg --metric ./my-metric
    """
    from percert.training.export import export as write

    files = write(model, format.value, out, licence=licence)
    if as_json:
        emit_json({"model": model, "format": format.value, "files": [str(path) for path in files]})
    else:
        say(f"Written: {', '.join(str(path) for path in files)}")
