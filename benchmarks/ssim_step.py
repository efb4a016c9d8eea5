"""Figures 3 and 9 on MNIST: one step under 1 - SSIM beside one step under L2, and at equal success.

    python -m benchmarks.ssim_step --data ../shared/data --out docs/results

A small classifier is trained on every other digit of the MNIST test set; the attacks are made on
the rest. The first three columns of the picture are the paper's: original, Eq. 5 and one gradient
step, both of l2 length 10 on the grey image. The last three are the least multiples that succeed as
8-bit files: of Eq. 5, of the gradient step, and of normalised ascent (an L2 PGD of many steps).
"""

import argparse
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.conditions import Conditions, conditions, write_result
from percert.attacks import Untargeted, judge
from percert.attacks.ascent import NormalisedAscent
from percert.attacks.ssim_hessian import Border
from percert.attacks.ssim_step import least_step, ssim_newton_step
from percert.attacks.steps import steepest
from percert.attacks.surrogate import loss_slope
from percert.data.mnist import Digits, read_mnist
from percert.images import round_to_8bit
from percert.metrics.ssim import SSIM
from percert.models.mnist_cnn import MnistCNN, train_mnist_cnn
from percert.tensors import Images, Vector

#: The paper's length, of the grey image; in three equal channels it is sqrt(3) times that.
EPS = 10.0
COLUMNS = ("SSIM step, eps 10", "gradient step, eps 10", "SSIM step", "gradient step", "ascent")


@dataclass(frozen=True)
class Step:
    """One attack's measures: the share that succeeds as 8-bit files, and over the images on which

    every attack of its group does, 1 - SSIM and the l2 length on the grey image.
    """

    attack: str
    success: float
    images: int
    ssim_mean: float
    ssim_median: float
    l2_mean: float


@dataclass(frozen=True)
class Result:
    """What the run gives; ``at_eps`` of length 10, ``at_success`` the least that succeed."""

    conditions: Conditions
    trained_on: int
    accuracy: float
    attacked: int
    at_eps: list[Step]
    at_success: list[Step]


def attacked(model: MnistCNN, digits: Digits, border: Border) -> dict[str, Images]:
    """The 8-bit images of the two steps along Eq. 5's direction, by name."""
    goal = Untargeted(digits.labels)
    slope, _ = loss_slope(model, digits.images, goal, "cross-entropy", fallback=True)
    newton = ssim_newton_step(digits.images, slope, border=border)
    return {
        "eps": at_eps(digits.images, newton),
        "least": least_step(model, digits.images, newton, goal),
    }


def at_eps(images: Images, direction: Tensor) -> Images:
    return round_to_8bit((images + EPS * sqrt(3) * steepest(direction, "l2")).clamp(0, 1))


def all_attacks(model: MnistCNN, digits: Digits) -> tuple[dict[str, Images], dict[str, Images]]:
    """Images by the attack's name: of length 10, and the least that succeed."""
    goal = Untargeted(digits.labels)
    slope, _ = loss_slope(model, digits.images, goal, "cross-entropy", fallback=True)
    newton = attacked(model, digits, "reflect")
    inside = attacked(model, digits, "valid")
    fixed = {
        COLUMNS[0]: newton["eps"],
        COLUMNS[1]: at_eps(digits.images, slope),
    }
    least = {
        COLUMNS[2]: newton["least"],
        COLUMNS[3]: least_step(model, digits.images, slope, goal),
        COLUMNS[4]: NormalisedAscent()(model, digits.images, goal),
        "SSIM step, windows inside": inside["least"],
    }
    return fixed, least


def measure(model: MnistCNN, digits: Digits, group: dict[str, Images]) -> list[Step]:
    """Each attack's measures over the images on which all of the ``group`` succeed."""
    goal = Untargeted(digits.labels)
    verdicts = {
        name: judge(model, digits.images, moved, goal, metrics={"ssim": SSIM()})
        for name, moved in group.items()
    }
    common = torch.stack([verdict.success_8bit for verdict in verdicts.values()]).all(0)
    steps = []
    for name, verdict in verdicts.items():
        ssim, l2 = (verdict.distances[key][common].double() for key in ("ssim", "l2"))
        steps.append(
            Step(
                attack=name,
                success=verdict.success_8bit.double().mean().item(),
                images=int(common.sum()),
                ssim_mean=ssim.mean().item(),
                ssim_median=ssim.median().item(),
                l2_mean=l2.mean().item() / sqrt(3),
            )
        )
    return steps


def chosen_rows(model: MnistCNN, digits: Digits, fixed: dict[str, Images]) -> list[int]:
    """The first image of each digit on which both steps of length 10 succeed (as in Figure 9)."""
    with torch.no_grad():
        broken = torch.stack(
            [model(moved).argmax(1) != digits.labels for moved in fixed.values()]
        ).all(0)
    rows = [(broken & (digits.labels == digit)).nonzero()[:1, 0] for digit in range(10)]
    return [int(row) for row in torch.cat(rows)]


def picture(
    path: Path, model: MnistCNN, digits: Digits, columns: dict[str, Images], rows: list[int]
) -> None:
    """Write the figure: above each image what it is classified as, and its 1 - SSIM."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.25 * (len(columns) + 1), 1.42 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns) + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        original = digits.images[row : row + 1]
        shown = {"original": original, **{n: moved[row : row + 1] for n, moved in columns.items()}}
        for axis, (name, image) in zip(line, shown.items(), strict=True):
            axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_axis_off()
            with torch.no_grad():
                label, distance = _told(model, original, image)
            what = f"{label}" if name == "original" else f"{label}   {distance:.3f}"
            heading = name.replace(", ", "\n") if row == rows[0] else ""
            axis.set_title(f"{heading}\n{what}" if heading else what, fontsize=8)
    figure.savefig(path, dpi=80)


def _told(model: MnistCNN, original: Images, image: Images) -> tuple[int, float]:
    distance: Vector = SSIM()(original, image)
    return int(model(image).argmax()), distance.item()


def run(data: Path, out: Path, count: int, epochs: int, seed: int) -> Result:
    digits = read_mnist(data / "mnist")
    training, rest = digits.select(slice(1, None, 2)), digits.select(slice(0, None, 2))
    model = train_mnist_cnn(training.images, training.labels, epochs=epochs, batch=50, seed=seed)
    with torch.no_grad():
        right = model(rest.images).argmax(1) == rest.labels
    chosen = rest.select(right.nonzero()[:count, 0])
    fixed, least = all_attacks(model, chosen)
    result = Result(
        conditions=conditions(seed),
        trained_on=len(training),
        accuracy=right.double().mean().item(),
        attacked=len(chosen),
        at_eps=measure(model, chosen, fixed),
        at_success=measure(model, chosen, least),
    )
    write_result(out / "ssim-step.json", result)
    columns = {**fixed, **{name: least[name] for name in COLUMNS[2:]}}
    rows = chosen_rows(model, chosen, fixed)
    picture(out / "ssim-step.png", model, chosen, columns, rows)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--count", type=int, default=500, help="digits to attack")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.data, arguments.out, arguments.count, arguments.epochs, arguments.seed)


if __name__ == "__main__":
    main()
