"""Float rounding inside a certificate: a network built to lose digits, and images with few."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from percert.certify import copies
from percert.lipschitz.architectures import TinyShape
from percert.lipschitz.network import weights_hash
from percert.lipschitz.orthogonal import OrthogonalMix
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import (
    WEIGHTS,
    ModelCard,
    NetworkShape,
    build_network,
    load_exported,
    write_config,
)

from . import pixel_attacks
from .pixel_attacks import Ball, margin_attack

#: Of every radius that is attacked.
FRACTIONS = (0.05, 0.1, 0.3, 0.6, 0.9, 0.999)


def cancelling(folder: Path, bias: float) -> EmbeddingMetric:
    """An exported network whose first bias is ``bias`` and whose second takes it away again.

    Its embedding is that of a network without either, but float32 has rounded to the last digit of
    ``bias`` in between: an error that does not shrink with the image.
    """
    torch.manual_seed(0)
    shape = NetworkShape(
        family="tiny",
        tiny=TinyShape(width=48, depths=(1, 1, 1), embedding=64, dense=0),
        constant=0.0,
        resize="box",
    )
    network = build_network(shape, "cancelling").eval()
    first, second = [layer for layer in network.layers if isinstance(layer, OrthogonalMix)][:2]
    with torch.no_grad():
        first.bias.fill_(bias)
        matrix, _ = second.matrix()
        # Everything is above 0 between the two: the absolute values there do nothing.
        second.bias.copy_(-(matrix.double().sum(1) * bias)[: len(second.bias)])
    save_file(network.state_dict(), folder / WEIGHTS)
    write_config(ModelCard("cancelling", shape, weights_hash(network)), folder)
    return load_exported(folder)


def faint(count: int, level: float) -> tuple[Tensor, Tensor]:
    """Pictures that are black up to ``level``, and others a little off them."""
    torch.manual_seed(1)
    first = level * torch.rand(count, 3, 64, 64)
    return first, (first + 0.3 * level * torch.rand(count, 3, 64, 64)).clamp(0, 1)


def false_certificates(metric: EmbeddingMetric, level: float) -> tuple[int, int]:
    """How many copy certificates of faint pictures are broken, and how many there are."""
    first, second = faint(12, level)
    with torch.no_grad():
        kept = metric.embed(first)
    exact = pixel_attacks.distance(kept.double(), metric.embed(second).double(), metric.constant)
    broken = certified = 0
    for threshold in (1.02 * exact.max().item(), exact.median().item(), 0.98 * exact.min().item()):
        made = copies(metric, first, second, threshold)
        sign = torch.where(made.decision, 1.0, -1.0)

        def margin(x: Tensor, threshold: float = threshold, sign: Tensor = sign) -> Tensor:
            # Of embeddings in the metric's own precision, compared in float64.
            here = metric.embed(first).double()
            distance = pixel_attacks.distance(here, metric.embed(x).double(), metric.constant)
            return sign * (threshold - distance)

        flipped = torch.zeros(len(first), dtype=torch.bool)
        for fraction in FRACTIONS:
            ball = Ball(
                second.double(), fraction * made.radius, torch.ones(len(second), dtype=torch.bool)
            )
            flipped |= margin_attack(margin, [ball], steps=4) < 0
        broken += int((flipped & (made.radius > 0)).sum())
        certified += int((made.radius > 0).sum())
    return broken, certified


@pytest.mark.parametrize("level", [0.002, 0.01, 0.05])
def test_biases_that_cancel_break_no_certificate(tmp_path: Path, level: float) -> None:
    metric = cancelling(tmp_path, 500.0)
    broken, certified = false_certificates(metric, level)
    assert broken == 0
    # In float64 the digits suffice.
    assert certified > 30


@pytest.mark.parametrize("level", [0.002, 0.05])
def test_float32_abstains_where_its_digits_do_not_suffice(tmp_path: Path, level: float) -> None:
    metric = cancelling(tmp_path, 500.0).float()
    broken, certified = false_certificates(metric, level)
    assert (broken, certified) == (0, 0)


def test_float32_with_less_allowed_for_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it once was: a share of the embedding, and nothing for the biases."""
    metric = cancelling(tmp_path, 500.0).float()
    monkeypatch.setattr(EmbeddingMetric, "float_error", lambda self, size: 0.0)
    monkeypatch.setattr(EmbeddingMetric, "feature_error", 1e-5)
    broken, certified = false_certificates(metric, 0.002)
    assert broken > certified / 10 > 0
