"""Triplets in memory: smooth pictures far from black and white, where nothing is clipped."""

from pathlib import Path

import torch
import torch.nn.functional as F

from percert.data.triplets import Triplet

SIDE = 16


def picture(seed, side=SIDE):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 4, 4, generator=generator)
    return 0.35 + 0.3 * F.interpolate(small, (side, side), mode="bilinear")[0].clamp(0, 1)


def triplets(count, *, sides=(SIDE,), share=None):
    """``count`` triplets and what reads them: the left one is nearer in even ones."""
    images = {}
    for i in range(count):
        side = sides[i % len(sides)]
        reference = picture(3 * i, side)
        near = reference + 0.05 * (picture(3 * i + 1, side) - reference)
        far = reference + 0.9 * (picture(3 * i + 2, side) - reference)
        pair = (near, far) if i % 2 == 0 else (far, near)
        images[f"t{i}"] = (reference, *(image.float() for image in pair))
    here = Path("none")
    found = [
        Triplet(
            f"t{i}",
            here,
            here,
            here,
            float(i % 2) if share is None else share[i],
            group=("imagenet", "other")[i % 2],
            split="test",
        )
        for i in range(count)
    ]
    return found, lambda triplet: images[triplet.name]
