"""The auditor passes what is sound, and mutation tests prove that it can fail."""

import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from percert.audit import AuditReport, audit_network
from percert.images import Resize
from percert.lipschitz.architectures import SIZES, LipSimSize, lipsim_network
from percert.lipschitz.fixed_layers import (
    Abs,
    Flatten,
    FlipConcat,
    HalfAbs,
    MaxMin,
    NormOnePool,
    SpaceToDepth,
    SubtractMean,
    Truncate,
    ZeroChannelPad,
)
from percert.lipschitz.mirror import (
    MirrorFold,
    MirrorHaar,
    MirrorLift,
    MirrorSpaceToDepth,
    MirrorZeroPad,
)
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.sll import SLLConv, SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.lipsim import LipSim, Thumbnail

SLL_NETWORK = LipSimSize(2, 6, 1, 8, embedding=20, side=32)


def sll_network() -> LipschitzNetwork:
    return lipsim_network(SLL_NETWORK).eval()


def mirror_network() -> LipschitzNetwork:
    layers = [
        SubtractMean(),
        MirrorLift(4),
        MirrorZeroPad(52),
        Shift(mirror=True),
        OrthogonalMix(52, 32, mirror=True),
        HalfAbs(),
        MirrorHaar(),
        OrthogonalMix(128, 16, mirror=True),
        MaxMin(),
        MirrorSpaceToDepth(2),
        Abs(),
        MirrorFold(),
        SLLDense(64, 16),
    ]
    return LipschitzNetwork(layers, resolution=(16, 16), name="mirror").eval()


def flip_network() -> LipschitzNetwork:
    inner = nn.Sequential(SpaceToDepth(2), ZeroChannelPad(14), OrthogonalMix(14), Flatten())
    inner.lipschitz_bound = SubtractMean().lipschitz_bound
    layers = [FlipConcat(inner), Truncate(100)]
    return LipschitzNetwork(layers, resolution=(8, 8), name="flip").eval()


@pytest.mark.parametrize("make", [sll_network, mirror_network, flip_network])
def test_sound_networks_pass(make: Callable[[], LipschitzNetwork]) -> None:
    network = make()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    report = audit_network(network, seed=1)
    assert report.reasons == ()
    assert report.passed
    assert all(a.passed and a.lower <= a.upper * (1 + 1e-6) <= 1 + 3e-6 for a in report.layers)
    assert report.upper <= 1 + 1e-6
    assert 0.1 < report.pair_slope <= 1 + 1e-6
    assert report.attack.tried > 0
    assert report.attack.flipped == 0
    assert report.float_error > 0
    assert 0 < report.float_used <= 1
    assert report.resize == pytest.approx(1, abs=1e-9)
    # Every layer but drops and rectifiers has singular values of 1: power iteration finds them.
    assert max(audit.lower for audit in report.layers) > 0.999


def test_an_isometry_has_a_slope_near_the_bound() -> None:
    assert audit_network(Thumbnail(8)).pair_slope > 0.95


def test_the_audited_module_is_left_as_it_was() -> None:
    network = mirror_network().train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    audit_network(network)
    assert network.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_the_hash_names_the_weights() -> None:
    network = mirror_network()
    first, again = audit_network(network), audit_network(network)
    assert first.hash == again.hash
    assert first.to_dict() == again.to_dict()
    with torch.no_grad():
        network.layers[4].bias[0] += 1e-3
    assert audit_network(network).hash != first.hash


def test_the_report_is_json() -> None:
    network = sll_network()
    network.layers[2] = nn.Dropout().eval()
    report = audit_network(network)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["passed"] is False
    assert plain["upper"] is None
    assert plain["layers"][2]["type"] == "Dropout"


def test_pairs_of_the_callers_own_and_a_whole_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "small", SLL_NETWORK)
    metric = LipSim("small", "random").eval()
    report = audit_network(metric, pairs=(torch.rand(3, 3, 20, 50),))
    assert report.passed
    assert report.name == "lipsim-small"


def test_only_metrics_and_networks_are_audited() -> None:
    with pytest.raises(ValueError, match="found Linear"):
        audit_network(nn.Linear(2, 2))


# --- Mutations: each one breaks something, and the audit must say so. ---


def failed(report: AuditReport, reason: str) -> bool:
    return not report.passed and any(reason in text for text in report.reasons)


@pytest.mark.parametrize("family", [SLLDense, SLLConv])
def test_a_dropped_absolute_value(
    family: type[SLLDense | SLLConv], monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed(self: SLLDense | SLLConv) -> Tensor:
        k = self.weight
        if k.ndim == 2:
            return 2 / (k @ k.T).sum(1).abs()
        return 2 / nn.functional.conv2d(k, k, padding=k.shape[-1] - 1).sum((1, 2, 3)).abs()

    monkeypatch.setattr(family, "scale", signed)
    report = audit_network(sll_network())
    assert failed(report, "above 1")
    broken = [a for a in report.layers if not a.passed]
    assert {a.type for a in broken} == {family.__name__}
    assert max(a.lower for a in broken) > 1.01  # power iteration sees it by itself


def test_an_sll_scaled_by_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SLLConv.scale
    monkeypatch.setattr(SLLConv, "scale", lambda self: 1.05 * original(self))
    assert failed(audit_network(sll_network()), "(SLLConv): scale * t / 2 <= 1.04")


@pytest.mark.parametrize("family", [SLLDense, SLLConv])
@pytest.mark.parametrize("what", ["effective", "forward"])
def test_an_sll_that_does_not_compute_what_it_says(
    family: type[SLLDense | SLLConv], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scale is right, but nobody reads it, or forward adds something of its own."""
    if what == "effective":

        def effective(self: SLLDense | SLLConv) -> tuple[Tensor, Tensor]:
            weight, bias = self._compute()
            return 1.05 * weight, bias

        monkeypatch.setattr(family, "effective", effective)
    else:
        original = family.forward
        monkeypatch.setattr(family, "forward", lambda self, x: original(self, x) * 1.01)
    assert failed(audit_network(sll_network()), "away from x - K^T S relu(K x + b)")


def test_an_orthogonal_matrix_scaled_by_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    original = OrthogonalMix.matrix

    def scaled(self: OrthogonalMix) -> tuple[Tensor, Tensor]:
        weight, bias = original(self)
        return 1.05 * weight, bias

    monkeypatch.setattr(OrthogonalMix, "matrix", scaled)
    report = audit_network(mirror_network())
    assert failed(report, "(OrthogonalMix): SVD of its matrix: as used 1.0499")
    assert report.upper > 1.1


def test_scaling_one_layer_is_seen_by_the_pairs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flatten that scales, as if the layer table were blind to it."""
    monkeypatch.setattr(Flatten, "forward", lambda self, x: 1.05 * x.flatten(1))
    report = audit_network(Thumbnail(8))
    assert failed(report, "its outputs are not its inputs moved")
    assert failed(report, "a pair of images has a slope of 1.0")


def test_a_pool_with_a_wrong_divisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        NormOnePool,
        "forward",
        lambda self, x: nn.functional.avg_pool2d(x, self.size, divisor_override=self.size // 2),
    )
    report = audit_network(sll_network())
    assert failed(report, "(NormOnePool): dense SVD")
    assert report.upper == pytest.approx(4.0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(4, divisor_override=2),
        nn.BatchNorm2d(6),
        nn.Dropout(),
        nn.ReLU(),
        type("Subclass", (SLLConv,), {})(6, 5),
    ],
    ids=lambda layer: str(type(layer).__name__),
)
def test_unknown_layers_fail_whatever_they_compute(layer: nn.Module) -> None:
    network = sll_network()
    network.layers[3 if isinstance(layer, nn.AvgPool2d) else 2] = layer.eval()
    report = audit_network(network)
    assert failed(report, "is not a layer that the auditor knows")
    assert math.isinf(report.upper)


def test_a_network_that_does_not_run_fails() -> None:
    network = sll_network()
    network.layers[3] = SubtractMean()
    report = audit_network(network)
    assert failed(report, "it does not take")
    assert failed(report, "the network does not run")


def test_replaced_forwards_and_hooks_fail() -> None:
    network = mirror_network()
    network.layers[8].forward = lambda x: 2 * x
    assert failed(audit_network(network), "its forward has been replaced")
    network = mirror_network()
    network.layers[8].register_forward_hook(lambda *_: None)
    assert failed(audit_network(network), "forward hooks")


def test_weights_that_are_not_finite_fail() -> None:
    network = sll_network()
    with torch.no_grad():
        network.layers[1].bias[0] = math.nan
    assert failed(audit_network(network), "weights are not finite: network.layers.1.bias")


def test_a_stale_cache_is_not_what_is_audited_but_its_embedding_is() -> None:
    """The copy that is audited starts without a cache: only the weights count."""
    network = sll_network().requires_grad_(False)
    network(torch.rand(1, 3, 32, 32))
    network.layers[1].weight.data.mul_(3)  # hidden from the version counter
    assert audit_network(network).passed


def test_weights_that_are_no_numbers_fail_without_a_traceback() -> None:
    for position in (1, 6):  # a convolution, a dense layer
        network = sll_network()
        with torch.no_grad():
            network.layers[position].weight.view(-1)[0] = math.nan
        report = audit_network(network)
        assert failed(report, f"weights are not finite: network.layers.{position}.weight")
        assert report.to_dict()["upper"] is None


def test_a_promise_of_less_error_than_float32_has_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingMetric, "float_error", lambda self, size: 1e-12)
    assert failed(audit_network(sll_network()), "float32 embeddings differ from float64's by")


@pytest.mark.parametrize("share", [0.9, 0.97])
@pytest.mark.parametrize("mode", ["bicubic", "box"])
def test_a_resize_that_claims_too_small_a_norm_fails(
    share: float, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = EmbeddingMetric(sll_network(), Resize((32, 32), mode), name="short")
    assert audit_network(metric).resize == pytest.approx(1, abs=1e-9)
    honest = Resize.norm
    monkeypatch.setattr(Resize, "norm", lambda self, size: share * honest(self, size))
    report = audit_network(metric)
    assert failed(report, "the resize has a norm of 1.")
    assert report.resize == pytest.approx(1 / share, rel=1e-6)


def test_a_resize_that_is_more_than_its_matrices_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Resize.__call__
    metric = EmbeddingMetric(sll_network(), Resize((32, 32)), name="more")
    monkeypatch.setattr(
        Resize, "__call__", lambda self, images, **how: original(self, images, **how) ** 2
    )
    assert failed(audit_network(metric), "the resize has a norm of inf")


def test_a_network_that_claims_too_little_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    network = sll_network()
    from percert.lipschitz.bound import LipschitzBound

    monkeypatch.setattr(
        LipschitzNetwork, "lipschitz_bound", lambda self: LipschitzBound(0.5, "wishful")
    )
    report = audit_network(network)
    assert failed(report, "the layers' bounds multiply to 1, the network claims 0.5")
