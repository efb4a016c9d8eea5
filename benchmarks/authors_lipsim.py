"""LipSim's network the plain way: every scale computed again in every forward pass.

Written from the facts of the authors' public code (names of parameters, order of layers, what their
q does), independently of ``percert.lipschitz``. The oracle of the checkpoint loader's test and the
slow side of ``embed_speed.py``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _inverse(t: Tensor) -> Tensor:
    """1/t, and 0 where t is 0."""
    return torch.where(t == 0, 0.0, 1 / t)


class PlainConvSLL(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(inner, channels, 3, 3))
        self.bias = nn.Parameter(torch.rand(1, inner, 1, 1) - 0.5)
        self.q = nn.Parameter(torch.randn(inner))
        nn.init.xavier_normal_(self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        gram = F.conv2d(self.kernel, self.kernel, padding=2).abs()
        q = self.q.exp()[:, None, None, None]
        t = (gram * q / q).sum((1, 2, 3))  # the same axis twice: q cancels
        hidden = F.relu(F.conv2d(x, self.kernel, padding=1) + self.bias)
        hidden = hidden * _inverse(t)[:, None, None]
        return x - 2 * F.conv_transpose2d(hidden, self.kernel, padding=1)


class PlainDenseSLL(nn.Module):
    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inner, features))
        self.bias = nn.Parameter(torch.rand(1, inner) - 0.5)
        self.q = nn.Parameter(torch.randn(inner))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q.exp()
        t = (self.weight @ self.weight.T).abs() * q[None, :] / q[:, None]
        hidden = F.relu(F.linear(x, self.weight) + self.bias) * _inverse(t.sum(1))
        return x - 2 * hidden @ self.weight


class PlainLipSim(nn.Module):
    """Keys as in a checkpoint: ``convs.0.kernel``, ``linear.1.weight``, all again in base."""

    def __init__(
        self,
        *,
        depth: int = 20,
        channels: int = 45,
        conv_inner: int = 5,
        dense_depth: int = 7,
        dense_inner: int = 1024,
        embedding: int = 1792,
        side: int = 224,
    ) -> None:
        super().__init__()
        self.channels, self.embedding = channels, embedding
        pools = [nn.AvgPool2d(4, divisor_override=4) for _ in range(2)]
        self.convs = nn.Sequential(
            *(PlainConvSLL(channels, conv_inner) for _ in range(depth)), *pools
        )
        features = channels * (side // 16) ** 2
        self.linear = nn.Sequential(
            nn.Flatten(), *(PlainDenseSLL(features, dense_inner) for _ in range(dense_depth))
        )
        self.base = nn.Sequential(nn.Identity(), self.convs, self.linear)

    def forward(self, images: Tensor) -> Tensor:
        zeros = images.new_zeros(len(images), self.channels - 3, *images.shape[2:])
        return self.base(torch.cat((images, zeros), 1))[:, : self.embedding]


def published_state(network: PlainLipSim) -> dict[str, object]:
    """What their training saves: the state dict under the wrappers' names, and the epoch."""
    state = {f"module.model.{key}": value for key, value in network.state_dict().items()}
    return {"epoch": 1, "model_state_dict": state}
