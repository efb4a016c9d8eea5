"""``percert export``: a metric of one's own as files that others can use."""

import copy
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from percert.check import check_choice
from percert.extras import install_extra
from percert.files import file_sha256, replacing, write_whole
from percert.lipschitz.architectures import SIZES
from percert.lipschitz.centre import centre_of
from percert.lipschitz.network import LipschitzNetwork, fold, weights_hash
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import (
    CONFIG,
    WEIGHTS,
    Constant,
    ModelCard,
    NetworkShape,
    exported_folder,
    is_exported,
    read_config,
    write_config,
)
from percert.metrics.certified.lipsim import LipSim
from percert.reports.table import facts
from percert.training.student import write_weights

Format: TypeAlias = Literal["safetensors", "onnx", "hf"]
ONNX = "model.onnx"

#: What a network is built of, in words.
LAYERS = {
    "sll": "SLL layers",
    "orthogonal": "orthogonal mixing",
    "lipnext": "orthogonal mixing, the lengths of channels",
    "bronet": "convolutions by block reflectors",
}

README = """---
library_name: percert
license: {licence}
tags:
- perceptual-metric
- image-similarity
- certified-robustness
- lipschitz
---

# {name}

A perceptual distance between images with a proof: a 1-Lipschitz network ({family},
{height} x {width} inside, embeddings of {width_of_embedding} values) whose embedding moves by at
most the l2 length of any change of the pixels it sees. The distance of two images is 1 - the cosine
of their embeddings{constant}.

```python
import percert

metric = percert.create_metric("hf-hub:OWNER/NAME")  # or the path of this folder
```

{facts}
Check it before you trust it: `percert audit network .` computes every layer's bound anew.
"""


def export(
    model: str,
    format: str,
    out: Path,
    *,
    checkpoint: Path | None = None,
    embedding: int | None = None,
    constant: Constant = "appended",
    licence: str = "other",
) -> list[Path]:
    """Write the metric that ``model`` names into the folder ``out``; returns the files.

    ``model`` is the folder of a finished run or an export, ``hf-hub:OWNER/NAME``,
    ``lipsim-tiny``, or ``lipsim-small``, ``-medium`` or ``-large`` with the weights in
    ``checkpoint``, such as the authors' file, and ``embedding`` and ``constant`` as
    :class:`~percert.metrics.LipSim` takes them. ``format`` is ``"safetensors"`` (weights and card),
    ``"hf"`` (the same and a README, as a Hugging Face repository has it) or ``"onnx"`` (images of
    the network's size in [0, 1] to raw embeddings, any number of them, beside the card). Raises
    ``ValueError`` for a model that is not such a network, a format that is not known, and where
    ONNX is not installed.
    """
    check_choice(format, get_args(Format), "format")
    if checkpoint is not None:
        metric, card = _read_authors(model, checkpoint, embedding, constant)
    else:
        metric, card = _read(model)
    network = metric.network
    assert isinstance(network, LipschitzNetwork)  # such as read_config and the catalog have
    out.mkdir(parents=True, exist_ok=True)
    written = []
    if format == "onnx":
        written.append(_write_onnx(metric, out))
    else:
        named = {"format": "pt", "weights": card.weights}
        written.append(write_weights(network, out, named))
    write_config(card, out)
    written.append(out / CONFIG)
    if format == "hf":
        write_whole(out / "README.md", _readme(card, network, licence))
        write_whole(out / ".gitattributes", "*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        written += [out / "README.md", out / ".gitattributes"]
    return written


def _read(model: str) -> tuple[EmbeddingMetric, ModelCard]:
    """The metric, and its card: the exported one's own, or one made for the catalog's."""
    if is_exported(model):
        folder = exported_folder(model)
        return create_metric(str(folder), device="cpu"), read_config(folder)  # type: ignore[return-value]
    metric: Any = create_metric(model, device="cpu")
    if model != "lipsim-tiny":
        raise ValueError(
            "export: expected the folder of a run, hf-hub:OWNER/NAME, lipsim-tiny, or "
            f"lipsim-small, -medium or -large with a checkpoint, found {model!r}"
        )
    centre = centre_of(metric.network)
    shape = NetworkShape(
        family="tiny",
        constant=metric.constant,
        resize=metric.resize.mode,
        centre_axes=None if centre is None else len(centre.axes),
    )
    card = ModelCard(
        name=model,
        shape=shape,
        weights=weights_hash(metric.network),
        copy_threshold=metric_card(model).copy_threshold,
    )
    return metric, card


def _read_authors(
    model: str, checkpoint: Path, embedding: int | None, constant: Constant
) -> tuple[EmbeddingMetric, ModelCard]:
    """A network of the authors' shape, its weights in a file: theirs, or one of safetensors."""
    family, _, size = model.partition("-")
    if family != "lipsim" or size not in SIZES:
        raise ValueError(
            f"export: expected lipsim-small, -medium or -large with a checkpoint, found {model!r}"
        )
    metric = LipSim(size, checkpoint, embedding=embedding, constant=constant)  # type: ignore[arg-type]  # checked
    # As a file of float32, in which it is published and exported.
    network = metric.network.float()
    trained = {"by": "its authors", "file": checkpoint.name, "sha256": file_sha256(checkpoint)}
    return metric, ModelCard(model, metric.shape, weights_hash(network), trained=trained)


class _Embed(nn.Module):
    """Images of the network's own size to embeddings: what is exported."""

    def __init__(self, metric: EmbeddingMetric) -> None:
        super().__init__()
        # In float32, as other tools expect it.
        folded: Any = fold(copy.deepcopy(metric).float())
        self.network = folded.network

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.network(images)
        return embeddings


def _write_onnx(metric: EmbeddingMetric, out: Path) -> Path:
    try:
        import onnxscript  # noqa: F401  # what torch exports with
    except ModuleNotFoundError:
        raise ValueError(f"export: onnx needs onnxscript: {install_extra('onnx')}") from None
    example = torch.rand(2, 3, *metric.resolution)
    batch = torch.export.Dim("images", min=1)
    with replacing(out / ONNX) as unfinished:
        torch.onnx.export(
            _Embed(metric).eval(),
            (example,),
            unfinished,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes={"images": {0: batch}},
        )
    return out / ONNX


def _readme(card: ModelCard, network: nn.Module, licence: str) -> str:
    height, width = card.shape.resolution
    constant = card.shape.constant
    added = f", {card.shape.added:g} / sqrt(k) being added first" if card.shape.added else ""
    parameters = sum(value.numel() for value in network.state_dict().values())
    stated = {
        "weights": f"`{WEIGHTS}`, {parameters:,} values, float32",
        "sha256 over the weights": f"`{card.weights}`",
        "resize to the network": f"{card.shape.resize}; its exact norm is part of every radius",
        **{key: str(value) for key, value in card.trained.items()},
    }
    return README.format(
        licence=licence,
        name=card.name,
        family=LAYERS["sll" if card.shape.family == "lipsim" else card.shape.tiny.architecture],
        height=height,
        width=width,
        width_of_embedding=card.shape.width,
        constant=f", with a constant {constant:g} appended" if constant else added,
        facts=facts(stated, side="left").markdown(),
    )
