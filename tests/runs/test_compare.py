"""Files compared with a reference from Python: the same answers, and what is set apart."""

import pytest
import torch

from percert import create_metric
from percert.certify import copies, twoafc
from percert.images import load_image, save_image
from percert.runs.compare import CompareSettings, JudgeSettings, compare_files, judge_files


@pytest.fixture
def photos(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("a", "b", "c"):
        save_image(torch.rand(3, 32, 40, generator=generator), tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_each_candidate_has_its_certificate_and_a_bad_one_stops_none(photos):
    steps = []
    asked = CompareSettings(metric="thumbnail", threshold=0.3)
    found = compare_files(
        photos / "a.png", [photos], asked, progress=lambda *step: steps.append(step)
    )
    assert [one.candidate.rpartition("/")[2] for one in found.results] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    metric, images = (
        create_metric("thumbnail", device="cpu"),
        [load_image(photos / name)[None] for name in ("a.png", "b.png")],
    )
    certificate = copies(metric, *images, threshold=0.3)
    assert found.results[1].copy == bool(certificate.decision)
    assert found.results[1].radius == pytest.approx(float(certificate.radius))
    ((bad, reason),) = found.bad
    assert bad.endswith("broken.png")
    assert reason
    assert [step[1:] for step in steps] == [(place, 4) for place in range(4)]
    answer = found.answer()
    assert answer["threshold"] == 0.3
    assert (answer["rule"]["weight"], answer["rule"]["wrong"]) == (0.0, None)
    assert len(answer["bad"]) == 1


def test_a_rate_of_strangers_sets_the_reference_s_own_threshold(photos):
    strict, wide = (
        compare_files(
            photos / "a.png",
            [photos / "b.png"],
            CompareSettings(metric="thumbnail-8", wrong=wrong),
        )
        for wrong in (1e-6, 1e-2)
    )
    assert strict.rule.threshold < wide.rule.threshold
    assert strict.answer()["rule"]["wrong"] == 1e-6
    assert strict.answer()["threshold"] == strict.rule.threshold


def test_what_gives_no_verdict_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="threshold: ssim has no proven bound"):
        CompareSettings(metric="ssim", threshold=0.1)
    with pytest.raises(ValueError, match="views: ssim has no proven bound"):
        CompareSettings(metric="ssim", views=("whole", "upper"))
    with pytest.raises(ValueError, match="edits: proves verdicts"):
        CompareSettings(metric="ssim", edits=True)
    with pytest.raises(ValueError, match="edits: proves verdicts"):
        CompareSettings(metric="thumbnail", threshold=0.3, edits=True, perturbed="both")


def test_the_closer_of_two_files_is_judged_as_by_the_certificate(tmp_path):
    generator = torch.Generator().manual_seed(3)
    images = [torch.rand(3, size, 40, generator=generator) for size in (32, 36, 32)]
    images[2] = (0.9 * images[0]).clamp(0, 1)
    paths = [tmp_path / f"{name}.png" for name in ("reference", "left", "right")]
    for image, path in zip(images, paths, strict=True):
        save_image(image, path)
    for perturbed, sizes in (("reference", {(32, 40)}), ("candidates", {(36, 40), (32, 40)})):
        found = judge_files(*paths, JudgeSettings(metric="thumbnail", perturbed=perturbed))
        metric = create_metric("thumbnail", device="cpu")
        loaded = [load_image(path)[None] for path in paths]
        certificate = twoafc(metric, *loaded, perturbed=perturbed)
        assert found.judgement.closer == "right"
        assert found.judgement.radius == pytest.approx(certificate.radius.item())
        assert found.sizes == sizes
        assert found.answer()["radius"] == found.judgement.radius


def test_edits_of_the_reference_are_proven_of_a_metric_with_a_bound_alone():
    for wrong in ({"metric": "ssim"}, {"metric": "thumbnail", "perturbed": "all"}):
        with pytest.raises(ValueError, match="edits: proves which is closer"):
            JudgeSettings(edits=True, **wrong)
