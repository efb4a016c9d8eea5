"""Attack runs with known answers: grey pictures, a classifier of brightness, written by hand."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from percert.images import load_image, save_image
from percert.reports import write_records
from percert.runs import record_columns

SIDE = 16
#: Class 0 for what is darker than a half on average, class 1 for the rest.
NAMES = ("a.png", "b.png", "c.png", "d.png")


class Brightness(nn.Module):
    """Two logits, 10 (0.5 - mean) and 10 (mean - 0.5); ``other`` has the classes the other way."""

    def __init__(self, other: bool = False) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(-10.0 if other else 10.0))

    def forward(self, images: Tensor) -> Tensor:
        lit = self.gain * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([-lit, lit], 1)


def bright() -> nn.Module:
    return Brightness()


def dark() -> nn.Module:
    return Brightness(other=True)


def grey(level: int) -> Tensor:
    """A picture of one grey level out of 255."""
    return torch.full((3, SIDE, SIDE), level / 255)


def lit(level: int, rows: int, other: int) -> Tensor:
    """A picture of grey ``level`` whose first ``rows`` are of the ``other``."""
    picture = grey(level)
    picture[:, :rows] = other / 255
    return picture


def originals(folder: Path) -> Path:
    """Four pictures of class 0."""
    folder.mkdir()
    for place, name in enumerate(NAMES):
        save_image(grey(100 + place), folder / name)
    return folder


def write_attacks(
    run: Path,
    images: Path,
    attacks: Mapping[str, Mapping[str, Tensor | None]],
    *,
    confidence: float = 0.0,
    model: str = "tests.evaluation.attack_world:bright",
    **settings: object,
) -> Path:
    """A run in which each of ``attacks`` made of an image what is given; ``None``: it failed.

    Seconds are 1 for the first attack, 2 for the second and so on, model calls ten times that.
    """
    run.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (attack, made) in enumerate(attacks.items(), 1):
        for name, picture in made.items():
            row = dict.fromkeys(record_columns({"target": int}, ["ssim"]))
            row |= {"image": name, "attack": attack, "label": 0, "clean_prediction": 0}
            row |= {"attacked": True, "success": True, "success_8bit": picture is not None}
            row |= {"seconds": float(number), "model_calls": 10.0 * number}
            row |= {"cpu_seconds": float(number)}
            if picture is not None:
                folder = f"{number}"
                path = run / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                save_image(picture, path)
                change = load_image(path) - load_image(images / name)
                row |= {"l1": change.abs().sum().item(), "l2": change.norm().item()}
                row |= {"linf": change.abs().max().item(), "ssim": float(number) * 1e-3}
                row |= {"file": f"{folder}/{name}"}
            rows.append(row)
    write_records(run / "records.parquet", rows, record_columns({"target": int}, ["ssim"]))
    settings = {
        "goal": "classifier",
        "images": str(images),
        "model": model,
        "metrics": ["ssim"],
        "confidence": confidence,
        **settings,
    }
    record = {"settings": settings, "seed": 0, "device": "cpu", "finished": True}
    (run / "run.json").write_text(json.dumps(record))
    return run
