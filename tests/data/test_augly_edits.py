"""AugLy's edits: all run, repeat themselves, and leave the caller's random numbers alone."""

import random
import sys

import numpy as np
import pytest
from PIL import Image

from percert.cli.eval_copies import parse_edits
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.copy_edits import EDITS, apply_edit, find_edit

SIZE = (120, 80)
SIZES = {
    "augly-aspect-ratio": (138, 69),  # twice as wide as high, of as many pixels
    "augly-crop": (60, 40),
    "augly-overlay-screenshot": (1200, 736),  # that of its template
    "augly-pad": (180, 120),
    "augly-scale": (36, 24),
    "augly-resize": (60, 64),
}


def photograph(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


def edited(edit, seed=0, index=0):
    pytest.importorskip("augly", reason="needs the extra augly")
    return apply_edit(edit, photograph(1), seed, index, photograph(2))


@pytest.mark.parametrize("edit", AUGLY_EDITS, ids=lambda edit: edit.name)
def test_changes_the_image_and_repeats_itself(edit):
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002  # the generator that AugLy would spoil
    wanted = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    first = edited(edit)
    assert (random.random(), np.random.rand()) == wanted  # noqa: NPY002
    assert first.mode == "RGB"
    assert first.tobytes() == edited(edit).tobytes()
    assert first.tobytes() != photograph(1).tobytes()
    assert edited(edit, index=3).size == first.size
    if edit.name != "augly-rotate":  # cut to what is left without corners
        expected = SIZES.get(edit.name, SIZE)
        assert max(abs(a - b) for a, b in zip(first.size, expected, strict=True)) <= 1, first.size


@pytest.mark.parametrize(
    "name",
    ["overlay-emoji", "overlay-stripes", "overlay-text", "random-noise", "onto-background"],
)
def test_chance_differs_between_images_and_seeds(name):
    edit = find_edit(f"augly-{name}")
    assert edited(edit, index=0).tobytes() != edited(edit, index=1).tobytes()
    assert edited(edit, seed=0).tobytes() != edited(edit, seed=1).tobytes()


def test_a_collage_shows_both_photographs():
    pasted = np.asarray(edited(find_edit("augly-onto-background"))).astype(int)
    behind = np.asarray(photograph(2)).astype(int)
    share = (np.abs(pasted - behind).max(2) > 2).mean()
    assert 0.1 < share < 0.3  # half of each side
    with pytest.raises(ValueError, match="needs another photograph"):
        apply_edit(find_edit("augly-onto-background"), photograph(1), 0, 0)


def test_they_are_a_set_by_name_and_no_part_of_all():
    assert parse_edits("augly") == AUGLY_EDITS
    assert parse_edits("augly-blur, mirror") == (find_edit("augly-blur"), find_edit("mirror"))
    assert not {edit.name for edit in AUGLY_EDITS} & {edit.name for edit in EDITS}
    assert len({edit.name for edit in AUGLY_EDITS}) == len(AUGLY_EDITS) == 30


def test_without_the_package_one_line_says_what_adds_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "augly", None)
    with pytest.raises(ValueError, match=r"AugLy's edits need augly: pip install .*\[augly\]"):
        apply_edit(find_edit("augly-blur"), photograph(1), 0, 0)
