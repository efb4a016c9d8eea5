"""Figures 3 and 9 on MNIST: one step under 1 - SSIM beside one step under L2, and at equal success.

    python -m experiments attacks.ssim_step --data ../shared/data --out docs/results

A small classifier is trained on every other digit of the MNIST test set; the attacks are made on
the rest. The first three columns of the picture are the paper's: original, Eq. 5 and one gradient
step, both of l2 length 10 on the grey image. The last three are the least multiples that succeed as
8-bit files: of Eq. 5, of the gradient step, and of normalised ascent (an L2 PGD of many steps).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.papers.hpot.mnist import (
    COLUMNS,
    AttackMeasures,
    all_attacks,
    chosen_rows,
    measure,
    picture,
)
from percert.data.labelled_images import read_mnist
from percert.files import write_whole
from percert.models.small_resnet import train_mnist_cnn


@dataclass(frozen=True)
class SSIMSteps:
    """What the run gives; ``at_eps`` of length 10, ``at_success`` the least that succeed."""

    conditions: Conditions
    trained_on: int
    accuracy: float
    attacked: int
    at_eps: list[AttackMeasures]
    at_success: list[AttackMeasures]


def run(data: Path, out: Path, count: int, epochs: int, seed: int) -> SSIMSteps:
    digits = read_mnist(data / "mnist")
    training, rest = digits.select(slice(1, None, 2)), digits.select(slice(0, None, 2))
    model = train_mnist_cnn(training.images, training.labels, epochs=epochs, batch=50, seed=seed)
    with torch.no_grad():
        right = model(rest.images).argmax(1) == rest.labels
    chosen = rest.select(right.nonzero()[:count, 0])
    fixed, least = all_attacks(model, chosen)
    result = SSIMSteps(
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
    write_whole(out / "ssim-step.png", picture(model, chosen, columns, rows))
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
