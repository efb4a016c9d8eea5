"""How fast triplets are certified and a student is distilled, beside the authors' plain way.

    python -m experiments speed.certificates --threads 1 --out docs/results

The paper's architecture (20 convolutional and 7 dense SLL layers, 224 px), the same random weights
on both sides. Certifying: embed the three images, natural decision, radius; the plain way computes
every layer's scale in each of the three forward passes, and has Eq. 8 for a radius. Distilling: one
step's losses and gradients, standard and jittered images; the plain way passes the two one after
the other. Both sides take turns, so that a busy machine slows both; what counts is ratios.

The plain network is written from the facts of the authors' public code (names of parameters, order
of layers, what their q does), independently of ``percert.lipschitz``. It is the oracle of the
checkpoint loader's test as well, and the slow side of ``embedding.py``.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.conditions import Conditions, conditions, write_result
from percert.certify import twoafc
from percert.metrics.certified.lipsim import LipSim
from percert.training.losses import rmse


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
        embeddings: Tensor = self.base(torch.cat((images, zeros), 1))
        return embeddings[:, : self.embedding]


def published_state(network: PlainLipSim) -> dict[str, object]:
    """What their training saves: the state dict under the wrappers' names, and the epoch."""
    state = {f"module.model.{key}": value for key, value in network.state_dict().items()}
    return {"epoch": 1, "model_state_dict": state}


@dataclass(frozen=True)
class TaskTimes:
    """One task at one batch size: medians and quartiles of the seconds a step, and what they give.

    ``items`` (triplets, or images that a student learns from) a second at the median. ``cpu_ratio``
    is that of the processor's seconds, which a busy machine disturbs less. ``agreement`` is the
    largest relative difference of the two sides' results (radii; losses).
    """

    task: str
    batch: int
    rounds: int
    plain_seconds: float
    ours_seconds: float
    plain_quartiles: tuple[float, float]
    ours_quartiles: tuple[float, float]
    plain_items: float
    ours_items: float
    ratio: float
    cpu_ratio: float
    agreement: float


@dataclass(frozen=True)
class CertifiedSpeed:
    """All comparisons of one run."""

    benchmark: str
    compared: list[TaskTimes]
    conditions: Conditions


@torch.no_grad()
def plain_certified(network: nn.Module, reference: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Eq. 8 of each triplet, ``(n,)``, as a first reading of the paper has it."""
    f, f0, f1 = (
        F.normalize(F.pad(network(images), (0, 1), value=1.0), dim=1)
        for images in (reference, left, right)
    )
    d0, d1 = 1 - (f * f0).sum(1), 1 - (f * f1).sum(1)
    radius: Tensor = (d0 - d1).abs() / (f0 - f1).norm(dim=1)
    return radius


def plain_distilled(network: nn.Module, images: Tensor, jittered: Tensor, asked: Tensor) -> Tensor:
    """The paper's losses, two passes; gradients are left in the weights."""
    here, there = network(images), network(jittered)
    loss = rmse(here, asked) + rmse(there, asked) + rmse(here, there)
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return loss.detach()


def our_distilled(network: nn.Module, images: Tensor, jittered: Tensor, asked: Tensor) -> Tensor:
    """The same in one pass, as ``percert train distill`` has it."""
    here, there = network(torch.cat((images, jittered))).chunk(2)
    loss = rmse(here, asked) + rmse(there, asked) + rmse(here, there)
    network.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return loss.detach()


def compare(
    task: str,
    batch: int,
    rounds: int,
    plain: Callable[[], Tensor],
    ours: Callable[[], Tensor],
) -> TaskTimes:
    """Run both by turns, after a warm-up whose results are compared."""
    first, second = plain().double(), ours().double()
    agreement = float(((first - second).abs() / first.abs().clamp_min(1e-12)).max())
    wall: dict[str, list[float]] = {"plain": [], "ours": []}
    cpu: dict[str, float] = {"plain": 0.0, "ours": 0.0}
    for _ in range(rounds):
        for name, run in (("plain", plain), ("ours", ours)):
            start, busy = perf_counter(), process_time()
            run()
            wall[name].append(perf_counter() - start)
            cpu[name] += process_time() - busy
    median = {name: statistics.median(values) for name, values in wall.items()}
    quartiles = {
        name: (cuts[0], cuts[2])
        for name, cuts in (
            (name, statistics.quantiles(values, n=4)) for name, values in wall.items()
        )
    }
    return TaskTimes(
        task=task,
        batch=batch,
        rounds=rounds,
        plain_seconds=median["plain"],
        ours_seconds=median["ours"],
        plain_quartiles=quartiles["plain"],
        ours_quartiles=quartiles["ours"],
        plain_items=batch / median["plain"],
        ours_items=batch / median["ours"],
        ratio=median["plain"] / median["ours"],
        cpu_ratio=cpu["plain"] / max(cpu["ours"], 1e-9),
        agreement=agreement,
    )


def paper_radius(metric: LipSim, *images: Tensor) -> Tensor:
    """What the certificate of a triplet holds of the paper's own."""
    return twoafc(metric, *images).radius_paper


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    plain = PlainLipSim().eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        torch.save(published_state(plain), file)
        metric = LipSim("small", file)
    # Both in the metric's precision, which certificates need.
    plain.double()
    found = []
    for batch in options.batches:
        images = [_smooth_images(batch) for _ in range(3)]
        exact = [one.double() for one in images]
        if "certify" in options.tasks:
            plain.requires_grad_(False)
            metric.requires_grad_(False)
            found.append(
                compare(
                    "certify",
                    batch,
                    options.rounds,
                    partial(plain_certified, plain, *exact),
                    partial(paper_radius, metric, *images),
                )
            )
        if "distil" in options.tasks:
            plain.float().train().requires_grad_(True)
            metric.network.float().train().requires_grad_(True)
            asked = F.normalize(torch.randn(batch, 1792), dim=1)
            found.append(
                compare(
                    "distil",
                    batch,
                    options.rounds,
                    partial(plain_distilled, plain, images[0], images[1], asked),
                    partial(our_distilled, metric.network, images[0], images[1], asked),
                )
            )
            plain.double().eval()
            metric.double().eval()
        for one in found[-len(options.tasks) :]:
            print(
                f"{one.task:8} batch {one.batch:2}: plain {one.plain_items:.3g}/s, ours "
                f"{one.ours_items:.3g}/s, {one.ratio:.2f} times ({one.cpu_ratio:.2f} in CPU time)",
                flush=True,
            )
        if options.out is not None:  # after each size: what is there is there
            result = CertifiedSpeed("certified-speed", found, conditions(options.seed))
            write_result(options.out / "certified-speed.json", result)
    if options.out is None:
        result = CertifiedSpeed("certified-speed", found, conditions(options.seed))
        print(json.dumps(asdict(result), indent=1))


def _smooth_images(count: int) -> Tensor:
    """Noise of single pixels averages out: two such images can have one embedding in float32, for
    which the plain way's radius is 0 / 0.
    """
    return F.interpolate(torch.rand(count, 3, 7, 7), size=(224, 224), mode="bilinear")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of results; printed if not given")
    parser.add_argument(
        "--tasks", nargs="+", choices=("certify", "distil"), default=["certify", "distil"]
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7, help="2 or more")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected 2 or more, for quartiles; found {options.rounds}")
    return options


if __name__ == "__main__":
    main()
