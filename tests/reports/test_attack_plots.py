"""Figures of attacks: what can be told from their pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from percert.reports.attack_plots import (
    boxes_and_cumulative,
    colours,
    frontier,
    share_bars,
    share_matrix,
)
from percert.reports.plots import Cell, amplified, picture_grid

pytest.importorskip("matplotlib", reason="needs the extra 'report'")

#: "$" would be mathematics, "_" a subscript.
ODD = "pgd:eps=$1_2$"


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count(png, colour):
    """How many pixels are of a colour such as #0072b2, give or take."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(pixels(png) - wanted).max(2) <= 12).sum())


def test_a_curve_is_drawn_for_every_attack_that_succeeds():
    first, second = colours(2)
    both = {ODD: np.array([1e-5, 1e-3]), "y": np.array([2e-4])}
    png = boxes_and_cumulative(both, {ODD: 2, "y": 4}, value_label="$1-SSIM$")
    assert count(png, first) > 100
    assert count(png, second) > 100
    none = boxes_and_cumulative(
        {ODD: both[ODD], "y": np.zeros(0)}, {ODD: 2, "y": 4}, value_label="d"
    )
    assert count(none, second) == 0
    assert boxes_and_cumulative({"x": np.zeros(3)}, {"x": 3}, value_label="d")  # all equal, and 0


def test_a_bar_is_as_long_as_its_share():
    blue, red = colours(2)
    png = share_bars({ODD: {"jpeg": 0.2, "bits": 0.8}}, value_label="share")
    rows = pixels(png)
    assert rows.shape[0] > 100
    assert count(png, red) == pytest.approx(4 * count(png, blue), rel=0.15)


def test_the_matrix_shows_its_shares():
    png = share_matrix([ODD, "b"], ["m"], np.array([[1.0], [0.0]]))
    assert count(png, "#fde725") > 2000  # the ends of the scale
    assert count(png, "#440154") > 2000
    grey = share_matrix(["a"], ["m"], np.array([[np.nan]]))
    assert count(grey, "#d9d9d9") > 2000


def test_the_frontier_has_a_panel_a_defence():
    points = {"x": [(0.2, 1e-4, "a = 0"), (0.8, 1e-3, "a = 5")], ODD: [(0.5, 2e-3, "")]}
    one = frontier({"jpeg": points}, value_label="$c$", chance={"jpeg": 0.1})
    two = frontier({"jpeg": points, "bits": points}, value_label="c")
    assert pixels(two).shape[1] > 1.4 * pixels(one).shape[1]
    assert count(one, colours(1)[0]) > 100
    assert frontier({"jpeg": {"x": [(0.5, 0.0, "")]}}, value_label="c")  # nothing to draw on a log


def test_pictures_stand_side_by_side_and_below_one_another():
    red, blue = (np.zeros((20, 30, 3), np.float32) for _ in range(2))
    red[..., 0], blue[..., 2] = 1, 1
    wide = picture_grid([Cell("a", (red,)), Cell(ODD, (blue,))])
    tall = picture_grid([Cell("a", (red, blue))])
    for png in (wide, tall):
        assert count(png, "#ff0000") == pytest.approx(count(png, "#0000ff"), rel=0.1)
    assert pixels(wide).shape[1] > 1.5 * pixels(tall).shape[1]
    assert pixels(tall).shape[0] > 1.4 * pixels(wide).shape[0]
    with pytest.raises(ValueError, match="expected at least one"):
        picture_grid([])


def test_changes_are_amplified_alike():
    small, large = np.full((4, 4, 3), 0.001), np.full((4, 4, 3), -0.01)
    (first, second), factor = amplified([small, large])
    assert factor == pytest.approx(50)
    assert first == pytest.approx(np.full((4, 4, 3), 0.55))
    assert second == pytest.approx(np.zeros((4, 4, 3)), abs=1e-6)
    assert amplified([np.zeros((2, 2, 3))])[1] == 1.0
