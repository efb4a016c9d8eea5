"""Figures 3 and 9 of Human Imperceptible Attacks: a step on MNIST, under 1 - SSIM and under L2."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from experiments.papers.item import Compared, Findings, Setting, data_folder
from percert.attacks import Untargeted, judge
from percert.attacks.minimal.ascent import Ascent
from percert.attacks.second_order.ssim_step import Border, least_step, ssim_newton_step
from percert.attacks.steps import loss_slope, steepest
from percert.data.labelled_images import Digits, read_mnist
from percert.images import round_to_8bit
from percert.metrics.full_reference.ssim import SSIM
from percert.models.small_resnet import MnistCNN, train_mnist_cnn
from percert.reports.page import Figure
from percert.reports.plots import figure_png
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
    """One step of the paper's length along ``direction``, as a file of 8 bits."""
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
        COLUMNS[4]: Ascent()(model, digits.images, goal),
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
    model: MnistCNN, digits: Digits, columns: dict[str, Images], rows: list[int], dpi: int = 80
) -> bytes:
    """The figure as a PNG: above each image what it is classified as, and its 1 - SSIM."""
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
    return figure_png(figure, dpi=dpi)


def _told(model: MnistCNN, original: Images, image: Images) -> tuple[int, float]:
    distance: Vector = SSIM()(original, image)
    return int(model(image).argmax()), distance.item()


#: How many times ``--images`` digits are attacked: they are small.
TIMES = 10
_DIFFERS = (
    "A small network trained on every other digit of the test set, attacking the rest: the paper "
    "does not say which network it attacks on the test set.",
    "The step's length is 10 on the grey image, in [0, 1], before clipping; the border of SSIM's "
    "windows is reflected (docs: human-perc-ot).",
)


def figure_3(setting: Setting) -> Findings:
    """The first two ones on which both steps succeed, and both steps' mean 1 - SSIM."""
    return _figure(setting, 1)


def figure_9(setting: Setting) -> Findings:
    """One of each digit."""
    return _figure(setting, None)


def _figure(setting: Setting, digit: int | None) -> Findings:
    digits = read_mnist(data_folder(setting, "mnist", "the test set of MNIST"))
    training, rest = digits.select(slice(1, None, 2)), digits.select(slice(0, None, 2))
    model = train_mnist_cnn(training.images, training.labels, epochs=1, batch=50, seed=setting.seed)
    with torch.no_grad():
        wanted = model(rest.images).argmax(1) == rest.labels
    if digit is not None:
        wanted = wanted & (rest.labels == digit)
    chosen = rest.select(wanted.nonzero()[: TIMES * setting.images, 0])
    goal = Untargeted(chosen.labels)
    slope, _ = loss_slope(model, chosen.images, goal, "cross-entropy", fallback=True)
    newton = ssim_newton_step(chosen.images, slope, border="reflect")
    fixed = {COLUMNS[0]: at_eps(chosen.images, newton), COLUMNS[1]: at_eps(chosen.images, slope)}
    rows = chosen_rows(model, chosen, fixed)
    if digit is not None:
        rows = _first(model, chosen, fixed, 2)
    measured = [
        Compared(f"{step.attack}: {what}", None, value, unit)
        for step in measure(model, chosen, fixed)
        for what, value, unit in (
            ("success as files", 100 * step.success, "%"),
            ("mean 1 - SSIM where both succeed", step.ssim_mean, ""),
            ("mean l2 where both succeed", step.l2_mean, ""),
        )
    ]
    figures: tuple[Figure, ...] = ()
    if rows:
        figures = (
            Figure(
                picture(model, chosen, fixed, rows),
                "From left to right: the digit, one step under 1 - SSIM, one step under L2, with "
                "what each is classified as and its 1 - SSIM.",
                f"{len(rows)} digits and what both steps make of them",
            ),
        )
    claim = (
        "The paper shows digits and counts none; it claims that the step under 1 - SSIM keeps "
        "their structure and the other does not, which is a smaller 1 - SSIM."
    )
    return Findings(tuple(measured), (claim, *_DIFFERS), figures)


def _first(model: MnistCNN, digits: Digits, fixed: dict[str, Images], count: int) -> list[int]:
    """The first ``count`` digits that every step of ``fixed`` breaks."""
    with torch.no_grad():
        broken = [model(moved).argmax(1) != digits.labels for moved in fixed.values()]
    return [int(row) for row in torch.stack(broken).all(0).nonzero()[:count, 0]]
