"""Figures 1, 3b, 6 and 7 of LipSim: how far attacks on the embedding move a distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from experiments.papers.item import Compared, Findings, Setting, StandIn, stands_of
from experiments.papers.lipsim.judges import lipsim_there
from experiments.papers.networks import Judge, dreamsim_there
from experiments.papers.photographs import collection, pictures
from experiments.papers.printed import LIPSIM_FIGURE_3B
from percert.attacks import MoveEmbedding
from percert.attacks.bounded.pgd import PGD
from percert.certify import distance as certified_distance
from percert.data.judgements import night_triplets
from percert.evaluation.attack_runs.pages import as_picture
from percert.evaluation.copies.detector import cosine_distances
from percert.images import Resize, round_to_8bit
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Figure
from percert.reports.plots import Cell, amplified, picture_grid
from percert.runs import ImageItem, read_sample
from percert.tensors import Images

SIDE = 224
STEPS = 20
#: So many images are attacked together.
TOGETHER = 8
#: The paper's images of ImageNet, where they are, and how many it has.
IMAGENET, IN_PAPER = "imagenet", 500
#: The length at which Figure 7 asks for a distance that is larger.
BUDGET = 0.5
WHAT = f"{IN_PAPER} images of ImageNet's test set"


@dataclass(frozen=True, eq=False)
class AttackedImages:
    """Images ``(n, 3, h, w)``; by the judge's title their attacked versions and d(x, x + delta).

    ``stands``: what of the paper's they are not.
    """

    judges: tuple[Judge, ...]
    images: Images
    attacked: Mapping[str, Images]
    distances: Mapping[str, np.ndarray]
    words: tuple[str, ...]
    stands: tuple[StandIn, ...]


def figure_3b(setting: Setting) -> Findings:
    """l2-PGD at 1.0, maximising the squared distance of embeddings (Eq. 14)."""
    return _distribution(setting, 1.0, LIPSIM_FIGURE_3B)


def figure_6(setting: Setting) -> Findings:
    """The same at 3.0."""
    return _distribution(setting, 3.0, {})


def figure_7(setting: Setting) -> Findings:
    """At 0.5: is the distance moved by more than the budget, against Proposition 1?"""
    moved = _moved(setting, BUDGET)
    rows: list[Compared] = []
    for judge in moved.judges:
        values = moved.distances[judge.title]
        share = 100 * float(np.mean(values > BUDGET))
        what = f"{judge.name}: share with d(x, x + delta) > {BUDGET:g}"
        rows.append(Compared(what, None, share, "%"))
        largest = float(values.max())
        rows.append(Compared(f"{judge.name}: largest d(x, x + delta)", None, largest))
        upper = _proven(judge, moved.images, BUDGET)
        if upper is not None:
            what = f"{judge.name}: largest d that is possible, proven"
            rows.append(Compared(what, None, float(upper.max())))
    words = "The paper shows pictures whose DreamSim distance exceeds 0.5, and counts none."
    figures = tuple(_farthest(moved, judge) for judge in moved.judges)
    return Findings(tuple(rows), (words, *moved.words), figures, moved.stands)


def _farthest(moved: AttackedImages, judge: Judge) -> Figure:
    """Five columns: a picture, under attack, and what the attack added, times ten."""
    values, attacked = moved.distances[judge.title], moved.attacked[judge.title]
    chosen = [int(row) for row in np.argsort(-values, kind="stable")[:SHOWN]]
    pairs = [(as_picture(moved.images[row]), as_picture(attacked[row])) for row in chosen]
    changes, factor = amplified([other - picture for picture, other in pairs])
    cells = [
        Cell(f"d = {values[row]:.3f}", (*pair, change))
        for row, pair, change in zip(chosen, pairs, changes, strict=True)
    ]
    return Figure(
        picture_grid(cells, title=judge.title, across=len(cells)),
        f"By {judge.title}, from top to bottom: a picture, the same moved by {BUDGET:g} in l2 "
        f"({STEPS} steps of PGD), and the change, times {factor:.0f} around grey. Above them the "
        "distance of the first two; those that the attack moved farthest.",
        f"Columns of three pictures by {judge.title}",
    )


def move_images(
    setting: Setting, judges: Sequence[Judge], images: Images, eps: float
) -> dict[str, Images]:
    """``images`` moved by l2-PGD within ``eps``, as far from their embeddings as it gets, by judge.

    The seed of an image is its place.
    """
    attack = PGD(norm="l2", eps=eps, steps=STEPS)
    total, found = len(judges) * len(images), {}
    for place, judge in enumerate(judges):
        parts = []
        for start in range(0, len(images), TOGETHER):
            some = images[start : start + TOGETHER]
            seeds = torch.arange(start, start + len(some)) + setting.seed
            moved = attack(judge.metric, some, MoveEmbedding(some), seeds=seeds)
            parts.append(moved.detach())
            done = place * len(images) + start + len(some)
            setting.watch("moving embeddings of images", done, total)
        found[judge.title] = torch.cat(parts)
    return found


def read_images(items: Sequence[ImageItem], device: str) -> Images:
    """The images at the paper's side, rounded to 8 bits, in one batch."""
    resize = Resize((SIDE, SIDE), "bilinear")
    pictures = [resize(read_sample(item).image[None]).clamp(0, 1) for item in items]
    return torch.cat([round_to_8bit(picture) for picture in pictures]).to(device)


def _distribution(setting: Setting, eps: float, printed: dict[str, float]) -> Findings:
    moved = _moved(setting, eps)
    rows: list[Compared] = []
    for judge in moved.judges:
        mean = float(moved.distances[judge.title].mean())
        paper = printed.get(judge.paper)
        rows.append(Compared(f"{judge.name}: mean d(x, x + delta)", paper, mean))
        upper = _proven(judge, moved.images, eps)
        if upper is not None:
            what = f"{judge.name}: mean of the largest d possible, proven"
            rows.append(Compared(what, None, float(upper.mean())))
    figure = Figure(
        boxes_and_cumulative(
            dict(moved.distances),
            {name: len(values) for name, values in moved.distances.items()},
            value_label="d(x, x + delta)",
        ),
        f"Distances that l2-PGD of length {eps:g} reaches from 0, in {STEPS} steps.",
        f"Distributions of d(x, x + delta) for {' and '.join(moved.distances)}",
    )
    words = (
        "The paper's 0.6 is DreamSim's mean, read off its text; of LipSim it says that values are "
        "close to 0."
    )
    said = (*((words,) if printed else ()), *moved.words)
    return Findings(tuple(rows), said, (figure,), moved.stands)


def _proven(judge: Judge, images: Images, eps: float) -> np.ndarray | None:
    if not isinstance(judge.metric, EmbeddingMetric):
        return None
    parts = [
        certified_distance(judge.metric, some, some, eps).upper
        for some in torch.split(images, TOGETHER)
    ]
    return torch.cat(parts).double().cpu().numpy()


def _moved(setting: Setting, eps: float) -> AttackedImages:
    items, whose = collection(setting, IMAGENET, setting.images)
    imagenet = whose == IMAGENET
    images = read_images(items, setting.device)
    judges = (lipsim_there(setting), dreamsim_there(setting))
    attacked = move_images(setting, judges, images, eps)
    with torch.no_grad():
        distances = {
            judge.title: torch.cat(
                [
                    judge.metric(one, two).double().cpu()
                    for one, two in zip(
                        torch.split(images, TOGETHER),
                        torch.split(attacked[judge.title], TOGETHER),
                        strict=True,
                    )
                ]
            ).numpy()
            for judge in judges
        }
    here = f"images of DATA/{IMAGENET}" if imagenet else f"{whose}, none of them ImageNet's"
    few = None if imagenet and len(images) == IN_PAPER else StandIn(WHAT, f"{len(images)} {here}")
    words = (
        *(judge.words for judge in judges if judge.words),
        "d of different networks has different scales.",
        f"Images are looked at at {SIDE} x {SIDE}, and attacked as floats.",
    )
    stands = stands_of([judge.stand for judge in judges], few, _pgd())
    return AttackedImages(judges, images, attacked, distances, words, stands)


def _pgd() -> StandIn:
    return StandIn(
        "PGD, in so many steps of such a length as it does not say",
        f"PGD of {STEPS} steps from a random start",
    )


#: The length of the attack, in l2; and how many times ``--images`` photographs are compared with.
EPS, TIMES, SHOWN = 3.0, 5, 5


def figure_1(setting: Setting) -> Findings:
    """By metric: pictures, their attacked versions, and others at the same distance."""
    items, where = _pictures(setting)
    images = read_images(items, setting.device)
    judges = (dreamsim_there(setting), lipsim_there(setting))
    subjects = images[: setting.images]
    attacked = move_images(setting, judges, subjects, EPS)
    rows: list[Compared] = []
    figures = []
    for judge in judges:
        moved = attacked[judge.title]
        here, there = _directions(judge, images), _directions(judge, moved)
        far = (here[: len(moved)] - there).square().sum(1) / 2
        apart = cosine_distances(here[: len(moved)], here)
        others = ~torch.eye(len(moved), len(images), dtype=torch.bool)
        nearer = ((apart <= far[:, None]) & others).sum(1) / max(len(images) - 1, 1)
        mean = float(far.mean())
        rows += [
            Compared(f"{judge.name}: mean d(x, x + delta)", None, mean),
            Compared(
                f"{judge.name}: pictures with another one nearer than their attacked version",
                None,
                100 * float((nearer > 0).double().mean()),
                "%",
            ),
            Compared(
                f"{judge.name}: mean share of the others that are nearer than it",
                None,
                100 * float(nearer.mean()),
                "%",
            ),
        ]
        figures.append(_figure(judge, images, moved, far, apart.masked_fill(~others, torch.inf)))
    words = (
        *(judge.words for judge in judges if judge.words),
        "The paper shows five pictures, and counts none.",
    )
    stands = stands_of(
        [judge.stand for judge in judges],
        StandIn(
            "the references of NIGHT that AutoAttack makes flip, at a length that it does not say",
            f"{len(subjects)} of {len(images)} {where}, moved by l2-PGD at {EPS:g} on the "
            f"embedding in {STEPS} steps",
        ),
    )
    return Findings(tuple(rows), words, tuple(figures), stands)


def _pictures(setting: Setting) -> tuple[list[ImageItem], str]:
    """NIGHT's references where it is there, else photographs, and whose; more than are attacked."""
    count = TIMES * setting.images
    if setting.data is not None and (setting.data / "night").is_dir():
        paths = [triplet.reference for triplet in night_triplets(setting.data / "night")]
        items = [ImageItem(str(path.name), path) for path in dict.fromkeys(paths)]
        return items[:count], "NIGHT's references"
    return pictures(replace(setting, images=count))


@torch.no_grad()
def _directions(judge: Judge, images: Images) -> Tensor:
    constant = float(getattr(judge.metric, "constant", 0.0))
    parts = [
        direction(judge.metric.embed(some).double(), constant).cpu()  # type: ignore[operator]  # torch types attributes as modules
        for some in torch.split(images, TOGETHER)
    ]
    return torch.cat(parts)


def _figure(judge: Judge, images: Images, moved: Images, far: Tensor, apart: Tensor) -> Figure:
    """Five columns: a picture, under attack, and the other picture of the nearest distance."""
    chosen = np.argsort(-far.numpy(), kind="stable")[:SHOWN]
    cells = []
    for row in map(int, chosen):
        same = int((apart[row] - far[row]).abs().argmin())
        pictures = (images[row], moved[row], images[same])
        note = f"d = {float(far[row]):.3f} and {float(apart[row, same]):.3f}"
        cells.append(Cell(note, tuple(as_picture(one) for one in pictures)))
    return Figure(
        picture_grid(cells, title=judge.title, across=len(cells)),
        f"By {judge.title}, from top to bottom: a picture; the same under attack; another picture "
        "that is about as far from it. Above them the distances of the second and of the third "
        "from the first. The pictures that the attack moved farthest.",
        f"Columns of three pictures by {judge.title}",
    )
