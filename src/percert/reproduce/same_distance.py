"""Figure 1 of LipSim: what is as far from a picture as the same picture under attack."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from percert.attacks.collection import Item
from percert.data.night import night_triplets
from percert.evaluation.attack_pictures import as_picture
from percert.evaluation.copies_detector import cosine_distances
from percert.metrics.embedding import direction
from percert.reports.page import Figure
from percert.reports.picture_grid import Cell, picture_grid
from percert.reproduce.embedding_moves import STEPS, TOGETHER, move_images, read_images
from percert.reproduce.item import Compared, Findings, Setting
from percert.reproduce.photographs import photographs
from percert.reproduce.stand_ins import Judge, dreamsim_there, lipsim_there
from percert.tensors import Images

#: The length of the attack, in l2; and how many times ``--images`` photographs are compared with.
EPS, TIMES, SHOWN = 3.0, 5, 5


def figure_1(setting: Setting) -> Findings:
    """By metric: pictures, their attacked versions, and others at the same distance."""
    items, night = _pictures(setting)
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
    where = "NIGHT's references" if night else "photographs"
    words = (
        *(judge.words for judge in judges),
        f"{len(subjects)} of {len(images)} {where}; l2-PGD at {EPS:g} on the embedding, {STEPS} "
        "steps. The paper takes AutoAttack's images that flip a choice, does not say at which "
        "length, and shows five; it counts none.",
    )
    own = night and all(judge.own for judge in judges)
    return Findings(tuple(rows), words, tuple(figures), same=own)


def _pictures(setting: Setting) -> tuple[list[Item], bool]:
    """NIGHT's references where it is there, else photographs; more than are attacked."""
    count = TIMES * setting.images
    if setting.data is not None and (setting.data / "night").is_dir():
        paths = [triplet.reference for triplet in night_triplets(setting.data / "night")]
        return [Item(str(path.name), path) for path in dict.fromkeys(paths)][:count], True
    return photographs(replace(setting, images=count)), False


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
