"""Networks of LipNeXt's and BRONet's layers pass the audit, and what breaks them does not."""

import pytest
import torch
from torch import Tensor, nn

from percert.audit import AuditReport, audit_network
from percert.lipschitz.architectures import Architecture, TinyShape, tiny_network
from percert.lipschitz.fixed_layers import L2Pool
from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.orthogonal import OrthogonalMix
from percert.lipschitz.reflector import ReflectorConv


def network_of(architecture: Architecture) -> LipschitzNetwork:
    network = tiny_network(TinyShape(48, (1, 1, 1), 64, 1, 16, architecture)).eval()
    for parameter in network.parameters():
        # Biases that leave embeddings apart, or no radius is above 0.
        nn.init.normal_(parameter, std=0.5 if parameter.ndim > 1 else 0.02)
    return network


def failed(report: AuditReport, reason: str) -> bool:
    return not report.passed and any(reason in text for text in report.reasons)


@pytest.mark.parametrize("architecture", ["lipnext", "bronet"])
def test_sound_networks_pass(architecture: Architecture) -> None:
    # float64, since float32's digits leave networks this deep no radius.
    report = audit_network(network_of(architecture).double(), seed=1)
    assert report.reasons == ()
    assert all(a.passed and a.lower <= a.upper * (1 + 1e-6) <= 1 + 3e-6 for a in report.layers)
    assert report.attack.tried > 0
    assert report.attack.flipped == 0
    assert 0 < report.float_used <= 1
    kinds = {audit.type: audit.lower for audit in report.layers}
    for kind in {"lipnext": ("OrthogonalMix", "L2Pool"), "bronet": ("ReflectorConv",)}[
        architecture
    ]:
        assert kinds[kind] > 0.99  # power iteration finds what the proof says


def test_a_frame_that_is_not_orthogonal_is_made_so_but_one_in_use_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = network_of("lipnext").layers[3]
    layer.frame.mul_(3)
    norms = torch.linalg.svdvals(layer.matrix()[0])
    assert torch.allclose(norms, torch.ones(48), atol=1e-5)
    monkeypatch.setattr(OrthogonalMix, "blocks", lambda self: 1.05 * self.frame.double())
    monkeypatch.setattr("percert.lipschitz.orthogonal._excess", lambda *_, **__: torch.zeros(()))
    assert failed(audit_network(network_of("lipnext")), "(OrthogonalMix): SVD of its matrix")


@pytest.mark.parametrize("what", ["longer", "not periodic"])
def test_a_reflector_that_is_none_fails(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "longer":  # |R|^2 = 2.2 reflects beyond

        def effective(self: ReflectorConv) -> tuple[Tensor, ...]:
            rows, columns, back, bias = self._compute()
            return rows, columns, 1.1**0.5 * back, bias

        monkeypatch.setattr(ReflectorConv, "effective", effective)
        reason = "(ReflectorConv): SVD at every frequency: as used 1.19"
    else:
        forward = ReflectorConv.forward
        monkeypatch.setattr(ReflectorConv, "forward", lambda self, x: forward(self, x).relu())
        reason = "away from a periodic convolution"
    assert failed(audit_network(network_of("bronet")), reason)


@pytest.mark.parametrize("what", ["sum", "length of 1.01"])
def test_a_pool_that_gives_no_lengths_fails(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: L2Pool, x: Tensor) -> Tensor:
        if what == "sum":
            return x.sum((2, 3), keepdim=True)
        return 1.01 * x.square().sum((2, 3), keepdim=True).sqrt()

    monkeypatch.setattr(L2Pool, "forward", forward)
    report = audit_network(network_of("lipnext"))
    assert failed(report, "(L2Pool): its outputs are not the lengths of its channels")
