"""The closed forms of the races: a hair further flips the decision, a hair less never does."""

import pytest
import torch

from experiments.attacks.closed_form import courses, main, run
from percert.attacks.threat import length
from percert.tensors import per_sample


def steepest(slope, norm):
    """The change of length 1 in ``norm`` that a linear function feels most."""
    flat = slope.flatten(1)
    if norm == "linf":
        change = flat.sign()
    elif norm == "l1":
        best = flat.abs() > 0.999 * flat.abs().amax(1, keepdim=True)  # spread over ties
        change = best * flat.sign() / best.sum(1, keepdim=True)
    else:
        change = flat / flat.norm(dim=1, keepdim=True)
    return change.view_as(slope)


def rival_slope(course):
    """The gradient of the gap between the second class and the first."""
    at = course.images.clone().requires_grad_(True)
    best = course.model(at).topk(2).values
    (slope,) = torch.autograd.grad((best[:, 1] - best[:, 0]).sum(), at)
    return slope


@pytest.mark.parametrize("course", courses(10), ids=lambda course: course.name)
def test_the_closed_form_is_the_distance_to_an_error(course):
    assert torch.equal(course.model(course.images).argmax(1), course.labels)
    for norm, nearest in course.nearest.items():
        unit = steepest(rival_slope(course), norm)
        torch.testing.assert_close(length(unit, norm), torch.ones(10))
        for share, flips in ((0.999, False), (1.001, True)):
            moved = course.images + per_sample(share * nearest, unit) * unit
            assert 0 <= moved.min() <= moved.max() <= 1
            assert ((course.model(moved).argmax(1) != course.labels) == flips).all()
        for _ in range(50):
            noise = torch.randn_like(course.images)
            inside = per_sample(0.999 * nearest / length(noise, norm), noise) * noise
            assert torch.equal(course.model(course.images + inside).argmax(1), course.labels)


def test_an_attack_that_fails_has_no_ratio():
    course = courses(4)[0]
    ran = run("ddn:steps=1,levels=0,length=1e-6", "l2", course)
    assert (ran.success, ran.mean_ratio) == (0.0, -1.0)
    assert ran.calls == 2


def test_the_table_is_printed_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "experiments.attacks.closed_form.RACES", (("fmn:steps=5,rescale_steps=0", "l2"),)
    )
    main(["--count", "2", "--threads", "1", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("| `fmn:steps=5,rescale_steps=0` |") == 3
    assert (tmp_path / "closed-form.md").read_text().strip() == printed.strip()
    assert '"benchmark": "closed_form"' in (tmp_path / "closed-form.json").read_text()
