"""Do our bounded attacks break as many images as other people's implementations do?

    pip install adversarial-robustness-toolbox multiprocess
    python -m experiments attacks.agreement --data ../shared/data --out docs/results

Two classifiers of MNIST's digits, trained here on every other digit of the test set, one linear and
one convolutional, are attacked on digits of the rest that they have right. Robust accuracy, which
is what an attack is judged by, stands beside that of IBM's Adversarial Robustness Toolbox (ART) and
of foolbox, at equal iterations and restarts. Neither has FAB: in l2 it stands beside ART's
DeepFool, from which it descends and which is part of ART's AutoAttack in its place.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.conditions import conditions, write_result
from percert.attacks import Untargeted, parse_attack
from percert.data.labelled_images import Digits, read_mnist
from percert.models.small_resnet import train_mnist_cnn
from percert.reports.table import Column, Table
from percert.tensors import Images

#: Lengths are of the three equal channels together: sqrt(3) times those of the grey image.
BUDGETS = {
    "convolutional": {"linf": (0.05, 0.1), "l2": (1.5, 2.5)},
    "linear": {"linf": (0.02, 0.04), "l2": (0.5, 1.0)},
}
STEPS, QUERIES = 40, 300


@dataclass(frozen=True)
class Agreement:
    """Robust accuracies at one budget: ours, the other package's, and of both together."""

    model: str
    norm: str
    eps: float
    attack: str
    other: str
    ours: float
    theirs: float
    images: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    digits = read_mnist(options.data / "mnist")
    training = Digits(digits.images[::2], digits.labels[::2])
    held_out = Digits(digits.images[1::2], digits.labels[1::2])
    models = {
        "linear": train_linear(training),
        "convolutional": train_mnist_cnn(training.images, training.labels, epochs=4),
    }
    found = []
    for name, model in models.items():
        with torch.no_grad():
            right = model(held_out.images).argmax(1) == held_out.labels
        rows = right.nonzero()[: options.images, 0]
        chosen = Digits(held_out.images[rows], held_out.labels[rows])
        for norm, budgets in BUDGETS[name].items():
            for eps in budgets:
                found += compare(name, model, chosen, norm, eps)
    result = {
        "conditions": asdict(conditions(seed=0)),
        "art": art_version(),
        "steps": STEPS,
        "queries": QUERIES,
        "rows": [asdict(one) for one in found],
    }
    write_result(options.out / "attack-agreement.json", result)
    page = report(found)
    (options.out / "attack-agreement.md").write_text(page)
    print(page)


def train_linear(digits: Digits, steps: int = 300) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.Linear(28 * 28, 10)
    model = nn.Sequential(GreyPixels(), layer)
    optimiser = torch.optim.Adam(layer.parameters(), 0.01, weight_decay=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(digits.images), digits.labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
    return model.eval().requires_grad_(False)


class WithoutNaN(nn.Module):
    """ART's Square in l2 hands NaN pixels to the model now and then; they count as black."""

    def forward(self, images: Images) -> Images:
        return images.nan_to_num(0.0)


class GreyPixels(nn.Module):
    def forward(self, images: Images) -> Tensor:
        return images.mean(1).flatten(1)


def compare(name: str, model: nn.Module, digits: Digits, norm: str, eps: float) -> list[Agreement]:
    def ours(spec: str) -> float:
        attack = parse_attack(spec)[1]
        seeds = torch.arange(len(digits))
        return robust_on(attack(model, digits.images, Untargeted(digits.labels), seeds=seeds))

    def robust_on(moved: Images) -> float:
        moved = moved.nan_to_num(0.0)
        change = (moved - digits.images).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        with torch.no_grad():
            fooled = model(moved).argmax(1) != digits.labels
        return 1 - float((fooled & (size <= eps * (1 + 1e-4))).double().mean())

    art = art_attacks(model, norm, eps)
    pairs: list[tuple[str, str, str, Callable[[], Images]]] = [
        (
            "APGD-CE",
            f"apgd:norm={norm},eps={eps},steps={STEPS}",
            "ART AutoPGD, cross-entropy",
            lambda: art["ce"](digits),
        ),
        (
            "APGD-DLR",
            f"apgd:norm={norm},eps={eps},steps={STEPS},loss=dlr",
            "ART AutoPGD, DLR",
            lambda: art["dlr"](digits),
        ),
        (
            "Square",
            f"square:norm={norm},eps={eps},queries={QUERIES}",
            "ART Square",
            lambda: art["square"](digits),
        ),
        (
            "PGD",
            f"pgd:norm={norm},eps={eps},steps={STEPS}",
            "foolbox PGD",
            lambda: foolbox_pgd(model, digits, norm, eps),
        ),
        (
            "AutoAttack",
            f"autoattack:norm={norm},eps={eps},steps={STEPS},fab_steps={STEPS},queries={QUERIES}",
            "ART AutoAttack",
            lambda: art["all"](digits),
        ),
    ]
    if norm == "l2":
        spec = f"fab:norm={norm},eps={eps},steps={STEPS}"
        pairs.insert(2, ("FAB", spec, "ART DeepFool", lambda: art["deepfool"](digits)))
    found = []
    for title, spec, other, made in pairs:
        robust, beside = ours(spec), robust_on(made())
        found.append(Agreement(name, norm, eps, title, other, robust, beside, len(digits)))
        print(found[-1], file=sys.stderr, flush=True)
    return found


def art_attacks(model: nn.Module, norm: str, eps: float) -> dict[str, Callable[[Digits], Images]]:
    """ART's attacks as functions, on CPU, with one random start each."""
    from art.attacks.evasion import (  # type: ignore[import-not-found,unused-ignore]  # optional
        AutoAttack,
        AutoProjectedGradientDescent,
        DeepFool,
        SquareAttack,
    )
    from art.estimators.classification import (  # type: ignore[import-not-found,unused-ignore]
        PyTorchClassifier,
    )

    classifier = PyTorchClassifier(
        nn.Sequential(WithoutNaN(), model),
        nn.CrossEntropyLoss(),
        (3, 28, 28),
        10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    order = np.inf if norm == "linf" else 2

    def apgd(loss: str) -> Any:
        return AutoProjectedGradientDescent(
            classifier,
            norm=order,
            eps=eps,
            eps_step=2 * eps,
            max_iter=STEPS,
            nb_random_init=1,
            batch_size=200,
            loss_type=loss,
            verbose=False,
        )

    square = SquareAttack(
        classifier, norm=order, eps=eps, max_iter=QUERIES, batch_size=200, verbose=False
    )
    deepfool = DeepFool(classifier, max_iter=STEPS, epsilon=1e-3, batch_size=200, verbose=False)
    parts = [apgd("cross_entropy"), apgd("difference_logits_ratio"), square]
    parts += [deepfool] if norm == "l2" else []
    everything = AutoAttack(
        classifier, norm=order, eps=eps, eps_step=2 * eps, attacks=parts, batch_size=200
    )

    def run(attack: Any) -> Callable[[Digits], Images]:
        def made(digits: Digits) -> Images:
            np.random.seed(0)  # noqa: NPY002  # what ART draws from
            moved = attack.generate(x=digits.images.numpy(), y=digits.labels.numpy())
            return torch.from_numpy(np.ascontiguousarray(moved, np.float32))

        return made

    made = {"ce": run(parts[0]), "dlr": run(parts[1]), "square": run(square)}
    return {**made, "deepfool": run(deepfool), "all": run(everything)}


def foolbox_pgd(model: nn.Module, digits: Digits, norm: str, eps: float) -> Images:
    import foolbox

    torch.manual_seed(0)
    wrapped = foolbox.models.pytorch.PyTorchModel(model, bounds=(0, 1), device="cpu")
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    attack = kind(rel_stepsize=2.5 / STEPS, steps=STEPS)
    moved: Tensor = attack(wrapped, digits.images, digits.labels, epsilons=eps)[1]
    return moved


def art_version() -> str:
    import art  # type: ignore[import-not-found,unused-ignore]  # optional

    return str(art.__version__)


def report(found: list[Agreement]) -> str:
    columns: list[Column[Agreement]] = [
        Column("model", attrgetter("model")),
        Column("norm", attrgetter("norm"), side="right"),
        Column("eps (grey)", lambda one: one.eps / (sqrt(3) if one.norm == "l2" else 1), ".2f"),
        Column("attack", attrgetter("attack"), side="right"),
        Column("robust %", lambda one: 100 * one.ours, ".1f"),
        Column("beside", attrgetter("other"), side="right"),
        Column("robust %", lambda one: 100 * one.theirs, ".1f"),
    ]
    return (
        "# Attacks beside other implementations\n\nRobust accuracy in percent on "
        f"{found[0].images} digits that the model has right; lower is the stronger attack.\n\n"
        + Table.of(found, columns).markdown()
    )


if __name__ == "__main__":
    main()
