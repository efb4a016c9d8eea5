"""Figures 3 and 9 of Human Imperceptible Attacks: a step on MNIST, under 1 - SSIM and under L2."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from experiments.papers.item import Compared, Findings, Setting, StandIn, data_folder
from percert.attacks import Untargeted, judge
from percert.attacks.minimal.ascent import Ascent
from percert.attacks.run import Verdict, join_verdicts
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
class AttackMeasures:
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


def measure(model: MnistCNN, digits: Digits, group: dict[str, Images]) -> list[AttackMeasures]:
    """Each attack's measures over the images on which all of the ``group`` succeed."""
    return measure_verdicts(judged(model, digits, group))


def judged(model: MnistCNN, digits: Digits, group: dict[str, Images]) -> dict[str, Verdict]:
    """The verdict on each attack's images, so many at a time that they fit."""
    return {
        name: join_verdicts(
            [
                judge(model, one, other, Untargeted(labels), metrics={"ssim": SSIM()})
                for one, other, labels in zip(
                    torch.split(digits.images, AT_ONCE),
                    torch.split(moved, AT_ONCE),
                    torch.split(digits.labels, AT_ONCE),
                    strict=True,
                )
            ]
        )
        for name, moved in group.items()
    }


def measure_verdicts(verdicts: Mapping[str, Verdict]) -> list[AttackMeasures]:
    """As :func:`measure`, of verdicts by the attack's name."""
    common = torch.stack([verdict.success_8bit for verdict in verdicts.values()]).all(0)
    steps = []
    for name, verdict in verdicts.items():
        ssim, l2 = (verdict.distances[key][common].double() for key in ("ssim", "l2"))
        steps.append(
            AttackMeasures(
                attack=name,
                success=verdict.success_8bit.double().mean().item(),
                images=int(common.sum()),
                ssim_mean=ssim.mean().item(),
                ssim_median=ssim.median().item() if len(ssim) else float("nan"),
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


#: So many digits are attacked and judged at once.
AT_ONCE = 500
INSIDE = "SSIM step, windows inside, eps 10"
STANDS = (
    StandIn(
        "a network that it does not name, on MNIST's test set",
        "two small ones, each trained on every other digit of the test set, attacking the rest",
    ),
)
_WORDS = (
    "The paper shows digits and counts none; it claims that the step under 1 - SSIM keeps their "
    "structure and the other does not, which is a smaller 1 - SSIM.",
    "The step's length is 10 on the grey image, in [0, 1], before clipping. The Hessian is that of "
    "windows around every pixel, over the reflected image, and beside it of windows inside the "
    "image, as the metric has them: there most of the step lies in a frame that SSIM hardly sees.",
)


def figure_3(setting: Setting) -> Findings:
    """The first two ones on which both steps succeed, and both steps on all ones."""
    return _figure(setting, 1)


def figure_9(setting: Setting) -> Findings:
    """One of each digit, and both steps on all digits of the test set."""
    return _figure(setting, None)


def _figure(setting: Setting, digit: int | None) -> Findings:
    digits = read_mnist(data_folder(setting, "mnist", "the test set of MNIST"))
    halves = [digits.select(slice(place, None, 2)) for place in (0, 1)]
    verdicts: dict[str, list[Verdict]] = {}
    figures: tuple[Figure, ...] = ()
    right = 0
    for place, (attacked_half, training) in enumerate((halves, halves[::-1])):
        model = train_mnist_cnn(
            training.images, training.labels, epochs=1, batch=50, seed=setting.seed
        )
        some = attacked_half
        if digit is not None:
            some = some.select((some.labels == digit).nonzero()[:, 0])
        with torch.no_grad():
            chosen = some.select((model(some.images).argmax(1) == some.labels).nonzero()[:, 0])
        right += len(chosen)
        moved = _steps(model, chosen, setting, place)
        for name, verdict in judged(model, chosen, moved).items():
            verdicts.setdefault(name, []).append(verdict)
        if place == 0:
            fixed = {name: moved[name] for name in COLUMNS[:2]}
            rows = (
                chosen_rows(model, chosen, fixed)
                if digit is None
                else _first(model, chosen, fixed, 2)
            )
            figures = _shown(model, chosen, fixed, rows)
    joined = {name: join_verdicts(some) for name, some in verdicts.items()}
    total = len(digits) if digit is None else int((digits.labels == digit).sum())
    measured = [
        Compared("digits of the test set", None, float(total)),
        Compared("of which right, and attacked", None, 100 * right / total, "%"),
    ]
    for ours, suffix in ((COLUMNS[0], ""), (INSIDE, ", beside windows inside")):
        for step in measure_verdicts({name: joined[name] for name in (ours, COLUMNS[1])}):
            measured += _rows(step, suffix if step.attack == COLUMNS[1] else "")
    return Findings(tuple(measured), _WORDS, figures, STANDS)


def _rows(step: AttackMeasures, suffix: str) -> list[Compared]:
    success = Compared(f"{step.attack}: success as files", None, 100 * step.success, "%")
    both = [
        Compared(f"{step.attack}{suffix}: mean 1 - SSIM where both succeed", None, step.ssim_mean),
        Compared(f"{step.attack}{suffix}: mean l2 where both succeed", None, step.l2_mean),
    ]
    return both if suffix else [success, *both]


def _steps(model: MnistCNN, digits: Digits, setting: Setting, half: int) -> dict[str, Images]:
    """The 8-bit images of the step under 1 - SSIM, with both borders, and of the gradient's."""
    none = digits.images[:0]
    found = {name: [none] for name in (COLUMNS[0], COLUMNS[1], INSIDE)}
    for start in range(0, len(digits), AT_ONCE):
        setting.watch("attacking digits", half * len(digits) + start, 2 * len(digits))
        some = digits.select(slice(start, start + AT_ONCE))
        slope, _ = loss_slope(
            model, some.images, Untargeted(some.labels), "cross-entropy", fallback=True
        )
        # By conjugate gradients: seven times as fast as the dense Hessian, to 1e-6 the same.
        for name, border in ((COLUMNS[0], "reflect"), (INSIDE, "valid")):
            step = ssim_newton_step(some.images, slope, border=border, solver="cg")  # type: ignore[arg-type]
            found[name].append(at_eps(some.images, step))
        found[COLUMNS[1]].append(at_eps(some.images, slope))
    return {name: torch.cat(parts) for name, parts in found.items()}


def _shown(
    model: MnistCNN, digits: Digits, fixed: dict[str, Images], rows: list[int]
) -> tuple[Figure, ...]:
    if not rows:
        return ()
    return (
        Figure(
            picture(model, digits, fixed, rows),
            "From left to right: the digit, one step under 1 - SSIM, one step under L2, with what "
            "each is classified as and its 1 - SSIM.",
            f"{len(rows)} digits and what both steps make of them",
        ),
    )


def _first(model: MnistCNN, digits: Digits, fixed: dict[str, Images], count: int) -> list[int]:
    """The first ``count`` digits that every step of ``fixed`` breaks."""
    with torch.no_grad():
        broken = [model(moved).argmax(1) != digits.labels for moved in fixed.values()]
    return [int(row) for row in torch.stack(broken).all(0).nonzero()[:count, 0]]
