"""The metric of observers: visibility against a slow twin, what masks, and the fitted numbers."""

import numpy as np
import pytest
import torch

from percert.metrics import mdsi, seen
from percert.metrics.full_reference.seen import deviation
from percert.metrics.full_reference.visibility import visibility, visibility_map
from percert.metrics.seen_study import Coefficients, coefficients, observers_words


def pictures(height=41, width=50):
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64) - 0.5
    return 0.3 + 0.4 * reference, 0.3 + 0.4 * reference + 0.1 * noise


def slow_visibility(reference, candidate):
    """The same from scipy's filters, octave by octave, in NumPy."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="the slow twin filters with scipy")

    def blur(plane, sigma):
        return ndimage.gaussian_filter(plane, sigma, mode="nearest", radius=round(3 * sigma))

    colours = [[0.2989, 0.587, 0.114], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]]
    total = 0.0
    for colour, threshold in zip(colours, (0.01, 0.02, 0.02), strict=True):
        x, y = (np.tensordot(colour, image, 1) for image in (reference, candidate))
        for _ in range(4):
            low_x, low_y = blur(x, 1.0), blur(y, 1.0)
            masking = (blur((x - low_x) ** 2, 2.0) + blur((y - low_y) ** 2, 2.0)) / 2
            change = blur(((y - low_y) - (x - low_x)) ** 2, 2.0)
            total += ((change / (threshold**2 + masking)) ** 3).mean()
            x, y = low_x[::2, ::2], low_y[::2, ::2]
        total += ((((y - x) / 0.05) ** 2) ** 3).mean()
    return total ** (1 / 3)


def test_visibility_is_that_of_the_slow_twin():
    reference, candidate = pictures()
    slow = [
        slow_visibility(a, b) for a, b in zip(reference.numpy(), candidate.numpy(), strict=True)
    ]
    assert visibility(reference, candidate).tolist() == pytest.approx(slow, rel=1e-9)


def test_visibility_is_symmetric_and_grows_with_the_square_of_a_small_change():
    reference, candidate = pictures()
    assert torch.allclose(visibility(reference, candidate), visibility(candidate, reference))
    tiny = [visibility(reference, reference + s * (candidate - reference)) for s in (1e-3, 2e-3)]
    assert (tiny[1] / tiny[0]).tolist() == pytest.approx([4, 4], rel=1e-3)


def test_the_map_lies_where_the_change_is_and_its_power_mean_is_the_visibility():
    reference, _ = pictures(48, 48)
    candidate = reference.clone()
    candidate[:, :, 10:14, 30:34] += 0.2
    found = visibility_map(reference, candidate)
    assert found.shape == (2, 1, 48, 48)
    row, column = divmod(int(found[0, 0].argmax()), 48)
    assert 8 <= row <= 16
    assert 28 <= column <= 36
    mean = found.pow(3).mean((1, 2, 3)) ** (1 / 3)
    assert torch.allclose(mean, visibility(reference, candidate), rtol=0.05)


def test_texture_masks_what_a_smooth_place_shows():
    _, texture = pictures()
    smooth = torch.full_like(texture, 0.5)
    noise = 0.02 * torch.randn(texture.shape, generator=torch.Generator().manual_seed(1)).double()
    on_texture, on_smooth = seen(texture, texture + noise), seen(smooth, smooth + noise)
    assert (on_texture < 0.5 * on_smooth).all()


def test_a_change_of_brightness_alone_is_not_nothing():
    grey = torch.full((1, 3, 64, 64), 0.4)
    assert seen(grey, grey + 0.2).item() > 0.9


def test_at_half_one_in_two_notices():
    reference, candidate = pictures()
    evidence = visibility(reference, candidate) + 3 * deviation(reference, candidate)
    fitted = Coefficients(false_alarms=0.1, half=evidence[0].item(), slope=2.0, mdsi_weight=3.0)
    distance = seen(reference, candidate, fitted)
    assert distance[0].item() == pytest.approx(0.5)
    ratio = (evidence[1] / evidence[0]).item()
    assert distance[1].item() == pytest.approx(ratio**2 / (1 + ratio**2))
    assert fitted.share(0.5) == pytest.approx(0.55)
    assert fitted.share(0.0) == 0.1


def test_gradients_are_those_of_finite_differences():
    reference, candidate = (image[:1, :, :16, :17].clone() for image in pictures())
    candidate.requires_grad_()
    assert torch.autograd.gradcheck(lambda moved: seen(reference, moved), candidate)


def test_the_part_of_mdsi_is_the_deviation_that_mdsi_is_the_fourth_root_of():
    reference, candidate = pictures()
    there, back = mdsi(reference, candidate), mdsi(candidate, reference)
    assert torch.allclose(deviation(reference, candidate), (there**4 + back**4) / 2)


def test_words_say_both_shares():
    assert observers_words(0.0).startswith("about 8 of 100 people")
    assert observers_words(1.0).startswith("about 100 of 100 people")
    assert observers_words(0.0).endswith("notice, 8 would say so of an unchanged picture")


@pytest.fixture(scope="module")
def study(shared_data):
    pytest.importorskip("scipy", reason="the fit uses scipy")
    table = shared_data / "people" / "adversarials" / "pairs.csv"
    if not table.is_file():
        pytest.skip(f"no answers of observers at {table}")
    from experiments.people.seen import read_study

    return read_study(table)


def test_the_shipped_numbers_are_those_of_the_fit(study):
    from experiments.people.seen import fit

    found, shipped = fit(study), coefficients()
    for name in Coefficients.__dataclass_fields__:
        assert getattr(shipped, name) == pytest.approx(getattr(found, name), rel=0.02)


def test_photographs_that_were_not_fitted_on_are_ordered_and_calibrated(study):
    """Better than MDSI alone, and within 5 points in every fifth."""
    from experiments.people.seen import predict_held_out
    from percert.evaluation.people.agreement import spearman

    found, moved = predict_held_out(study, 5), study.changed
    assert moved.sum() == 80
    alone = spearman(study.mdsi[moved], study.share[moved])
    assert spearman(found[moved], study.share[moved]) > max(0.9, alone)
    order = np.argsort(found[moved])
    for part in np.array_split(order, 5):
        off = found[moved][part].mean() - study.share[moved][part].mean()
        assert abs(off) < 0.05
