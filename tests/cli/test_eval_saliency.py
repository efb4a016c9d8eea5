"""``percert eval saliency``: Table 2 of one's own runs."""

import pytest
from tests.evaluation.attack_world import grey, lit, originals, write_attacks

pytest.importorskip("pyarrow", reason="needs the extra 'report'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")


@pytest.fixture
def run(tmp_path):
    images = originals(tmp_path / "images")
    return write_attacks(
        tmp_path / "run",
        images,
        {"ascent": {"a.png": grey(110)}, "pgd": {"a.png": lit(100, 3, 200), "b.png": None}},
    )


def test_what_a_method_says_of_every_attack(run, tmp_path, percert_json, percert):
    out = tmp_path / "out"
    factory = "tests.evaluation.test_saliency:mean_map"
    answer = percert_json("eval", "saliency", run, "--saliency", factory, "--out", out)
    ascent, pgd = answer["saliency"][factory]
    assert ascent["distances"]["l1"]["mean"] == pytest.approx(256 * 10 / 255, rel=1e-4)
    assert pgd["distances"]["l1"]["mean"] == pytest.approx(3 * 16 * 100 / 255, rel=1e-4)
    assert pgd["distances"]["linf"]["mean"] == pytest.approx(100 / 255, rel=1e-4)
    assert (pgd["attacked"], pgd["success_8bit"]) == (2, 0.5)
    page = (out / "report.html").read_text()
    assert f"Saliency by {factory}" in page
    assert page.count("data:image/png;base64,") == 2
    assert (out / "maps-1-1.png").exists()


def test_the_map_without_weights_is_the_default(run, tmp_path, percert):
    pytest.importorskip("cv2", reason="needs the extra 'saliency'")
    said = percert("eval", "saliency", run, "--pictures", 0, "--out", tmp_path / "out")
    assert "spectral-residual:" in said.stdout
    assert "ascent" in said.stdout


def test_an_unknown_method_is_said(run, tmp_path, percert):
    said = percert(
        "eval", "saliency", run, "--saliency", "gaze", "--out", tmp_path / "out", exit_code=1
    )
    assert "expected spectral-residual, fine-grained" in said.stderr
    assert not (tmp_path / "out").exists()
