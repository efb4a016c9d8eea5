"""The catalog of copy edits: what each does to size and pixels, and that it does it again."""

import numpy as np
import pytest
from PIL import Image

from percert.data.copy_edits import EDITS, HARD_EDITS, USUAL_EDITS, Edit, apply_edit, find_edit

SIZES = {
    "rescale-0.5": (60, 40),
    "rescale-0.75": (90, 60),
    "rescale-1.5": (180, 120),
    "rescale-2": (240, 160),
    "crop-90-centre": (108, 72),
    "crop-90-random": (108, 72),
    "crop-80-centre": (96, 64),
    "crop-80-random": (96, 64),
    "crop-60-centre": (72, 48),
    "crop-60-random": (72, 48),
    "rotate-10-cropped": (96, 64),
    "border-black-10": (144, 96),
    "border-white-12": (148, 98),
    "border-blurred-15": (156, 104),
}


def photograph(seed: int, size: tuple[int, int] = (120, 80)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def edited(edit: Edit, seed: int = 0, index: int = 0) -> Image.Image:
    return apply_edit(edit, photograph(1), seed, index, photograph(2))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_changes_the_image_and_repeats_itself(edit: Edit) -> None:
    first, again = edited(edit), edited(edit)
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != photograph(1).tobytes()


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_size_depends_on_the_edit_alone(edit: Edit) -> None:
    expected = SIZES.get(edit.name, (120, 80))
    for index in range(4):
        width, height = edited(edit, index=index).size
        assert abs(width - expected[0]) <= 2
        assert abs(height - expected[1]) <= 2
    assert edited(edit, index=1).size == edited(edit, index=2).size


@pytest.mark.parametrize(
    "name", ["crop-80-random", "noise-16", "caption", "collage-70", "heavy-text"]
)
def test_chance_differs_between_images_and_seeds(name: str) -> None:
    edit = find_edit(name)
    assert edited(edit, index=0).tobytes() != edited(edit, index=1).tobytes()
    assert edited(edit, seed=0).tobytes() != edited(edit, seed=1).tobytes()


def test_leaves_the_original_alone() -> None:
    for edit in EDITS:
        original = photograph(1)
        apply_edit(edit, original, 0, 0, photograph(2))
        assert original.tobytes() == photograph(1).tobytes(), edit.name


def test_names_are_unique_and_the_issue_families_are_there() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS)
    assert {edit.family for edit in USUAL_EDITS} == {
        *("jpeg", "rescale", "crop-90", "crop-80", "brightness", "contrast", "saturation"),
        *("blur", "noise", "caption"),
    }
    assert {edit.family for edit in HARD_EDITS} == {
        *("crop-60", "rotate", "mirror", "jpeg", "grey", "colour-shift", "border", "collage"),
        "text",
    }


def test_noise_has_the_standard_deviation_of_its_name() -> None:
    flat = Image.new("RGB", (100, 100), (128, 128, 128))
    noisy = np.asarray(apply_edit(find_edit("noise-8"), flat, 0, 0), dtype=np.float64)
    assert noisy.std() == pytest.approx(8.0, rel=0.05)


def test_a_random_crop_is_a_window_of_the_image() -> None:
    crop = np.asarray(edited(find_edit("crop-80-random")))
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(photograph(1)), crop.shape)
    assert (windows == crop).all(axis=(-1, -2, -3)).any()


def test_mirror_twice_is_the_image() -> None:
    mirror = find_edit("mirror")
    assert apply_edit(mirror, edited(mirror), 0, 0).tobytes() == photograph(1).tobytes()


def test_a_caption_covers_the_bottom_only() -> None:
    before, after = np.asarray(photograph(1)), np.asarray(edited(find_edit("caption")))
    top = 80 - round(0.12 * 80)
    assert (before[:top] == after[:top]).all()
    assert (after[top:] == 255).mean() > 0.3
    assert after[top:].min() < 100


def test_a_rotated_crop_has_no_black_corner() -> None:
    white = Image.new("RGB", (120, 80), "white")
    assert np.asarray(apply_edit(find_edit("rotate-10-cropped"), white, 0, 0)).min() > 200
    assert np.asarray(apply_edit(find_edit("rotate-10"), white, 0, 0)).min() == 0


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="expected mode RGB, found L"):
        apply_edit(find_edit("mirror"), photograph(1).convert("L"), 0, 0)
    with pytest.raises(ValueError, match="collage-70: needs another photograph"):
        apply_edit(find_edit("collage-70"), photograph(1), 0, 0)
    with pytest.raises(ValueError, match=r"expected one of jpeg-90.*found 'nothing'"):
        find_edit("nothing")


def test_an_image_of_a_few_pixels_survives_every_edit() -> None:
    for edit in EDITS:
        small = apply_edit(edit, photograph(1, (3, 3)), 0, 0, photograph(2, (3, 3)))
        assert min(small.size) >= 1, edit.name
