"""What is exported is what was trained: as a folder, as ONNX, in the hub's layout."""

import json
import sys
import types
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiments.speed.certificates import PlainLipSim, published_state
from percert.files import file_sha256
from percert.lipschitz.architectures import SIZES, Architecture, LipSimSize, TinyShape
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import Constant, NetworkShape, read_config, write_config
from percert.metrics.certified.lipsim import LipSim
from percert.training.export import export
from percert.training.student import new_student, save_model, student_from

SHAPE = NetworkShape(
    lipsim=LipSimSize(1, 6, 1, 16, embedding=16, side=32), flip_concat=True, resize="box"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that has just ended."""
    student = new_student(SHAPE, "mine", 3)
    save_model(student.network, SHAPE, "mine", tmp_path / "run", {"teacher": "dreamsim"})
    return tmp_path / "run"


def _photos() -> tuple[torch.Tensor, torch.Tensor]:
    first, second = torch.rand(2, 2, 3, 40, 36, generator=torch.Generator().manual_seed(5))
    return first, second


def test_an_export_that_is_stopped_while_it_writes_leaves_what_was_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = export(str(run), "hf", tmp_path / "out", licence="apache-2.0")
    before = {path: path.read_bytes() for path in files}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    card = read_config(tmp_path / "out")
    monkeypatch.setattr("percert.files.os.fsync", full)
    for write in (
        lambda: write_config(replace(card, name="another"), tmp_path / "out"),
        lambda: export(str(run), "hf", tmp_path / "out", licence="mit"),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
        assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("format", ["safetensors", "hf"])
def test_an_exported_folder_is_the_same_metric(run: Path, tmp_path: Path, format: str) -> None:
    files = export(str(run), format, tmp_path / "out", licence="apache-2.0")
    assert all(path.is_file() for path in files)
    original, copy = (
        create_metric(str(folder), device="cpu") for folder in (run, tmp_path / "out")
    )
    assert isinstance(copy, EmbeddingMetric)
    assert torch.equal(original(*_photos()), copy(*_photos()))
    assert copy.bound((40, 36)).value == original.bound((40, 36)).value
    photo = _photos()[0]
    mirrored = copy.embed(photo.flip(-1))  # flip concatenation
    assert torch.allclose(copy.embed(photo), mirrored, atol=1e-6)
    assert copy.constant == 1.0
    card = metric_card(str(tmp_path / "out"))
    assert card.embedding
    assert card.resolution == (32, 32)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    if format == "hf":
        assert names == {"model.safetensors", "config.json", "README.md", ".gitattributes"}
        readme = (tmp_path / "out" / "README.md").read_text()
        assert readme.startswith("---\nlibrary_name: percert\nlicense: apache-2.0\n")
        assert read_config(run).weights in readme
        assert "dreamsim" in readme
    else:
        assert names == {"model.safetensors", "config.json"}


def test_lipsim_tiny_can_be_exported_and_loaded(tmp_path: Path) -> None:
    export("lipsim-tiny", "hf", tmp_path)
    photo, other = torch.rand(2, 1, 3, 70, 90)
    one, two = (
        create_metric("lipsim-tiny", device="cpu"),
        create_metric(str(tmp_path), device="cpu"),
    )
    assert torch.equal(one(photo, other), two(photo, other))
    assert metric_card(str(tmp_path)).copy_threshold == metric_card("lipsim-tiny").copy_threshold


def test_the_hub_s_name_leads_to_a_folder_or_a_download(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = create_metric(str(run), device="cpu")(*_photos())
    assert torch.equal(create_metric(f"hf-hub:{run}", device="cpu")(*_photos()), expected)
    asked = []
    hub = types.ModuleType("huggingface_hub")

    def snapshot_download(repository: str, *, revision: str | None, allow_patterns: object) -> str:
        asked.append((repository, revision))
        if revision == "gone":
            raise OSError("no network\nat all")
        return str(run)

    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    found = create_metric("hf-hub:someone/lipsim@v1", device="cpu")(*_photos())
    assert torch.equal(found, expected)
    assert set(asked) == {("someone/lipsim", "v1")}
    with pytest.raises(ValueError, match=r"cannot be fetched \(no network\); copy"):
        create_metric("hf-hub:someone/lipsim@gone")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install .*\[hub\]"):
        create_metric("hf-hub:someone/lipsim")


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_onnx_gives_the_embeddings_for_any_number_of_images(
    architecture: Architecture, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    depths = (0, 0, 0) if architecture == "orthogonal" else (1, 0, 0)
    tiny = TinyShape(48, depths, 32, 1, 4, architecture)
    shape = NetworkShape("tiny", tiny=tiny, flip_concat=True)
    student = new_student(shape, "mine", 3)
    save_model(student.network, shape, "mine", tmp_path / "run", {})
    export(str(tmp_path / "run"), "onnx", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "config.json"}
    session = runtime.InferenceSession(
        tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    metric = create_metric(str(tmp_path / "run"), device="cpu")
    for count in (1, 3):
        images = torch.rand(count, 3, 64, 64)
        (found,) = session.run(["embeddings"], {"images": images.numpy()})
        assert torch.allclose(torch.from_numpy(found).double(), metric.embed(images), atol=1e-5)


def test_what_was_exported_can_be_trained_on(run: Path) -> None:
    student, shape = student_from(run, "next")
    assert shape == SHAPE
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert student.network.name == "next"


def _spoil(folder: Path, what: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    held = json.loads(config.read_text())
    state = load_file(weights)
    name = next(iter(state))
    if what == "other weights":
        state[name] = state[name] + 1
    elif what == "nan":
        state[name] = state[name] * float("nan")
    elif what == "shape":
        held["shape"]["lipsim"]["channels"] = 8
    elif what == "format":
        held["format"] = "someone-else"
    elif what == "key":
        held["shape"]["gain"] = 2.0
    elif what == "no weights":
        weights.unlink()
        return
    config.write_text(json.dumps(held))
    save_file(state, weights)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other weights", "their hashes differ"),
        ("nan", "holds NaN"),
        ("shape", "does not fit"),
        ("format", "expected the format"),
        ("key", "not a card of a network"),
        ("no weights", r"model\.safetensors: no such file"),
    ],
)
def test_a_folder_that_was_tampered_with_is_refused(run: Path, what: str, message: str) -> None:
    _spoil(run, what)
    with pytest.raises(ValueError, match=message):
        create_metric(str(run), device="cpu")


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the folder of a run"):
        export("thumbnail", "hf", tmp_path)
    with pytest.raises(ValueError, match="format: expected one of"):
        export("lipsim-tiny", "pickle", tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        export(str(tmp_path / "nowhere"), "hf", tmp_path)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the layout of LipSim's authors, of a small network with odd widths."""
    size = LipSimSize(2, 6, 1, 13, conv_inner=3, embedding=20, side=32)
    monkeypatch.setitem(SIZES, "small", replace(size, dense_inner=9))
    torch.save(published_state(PlainLipSim(**asdict(size))), tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


@pytest.mark.parametrize("constant", ["appended", "added", "none"])
def test_the_authors_file_is_exported(theirs: Path, tmp_path: Path, constant: Constant) -> None:
    out = tmp_path / "out"
    export("lipsim-small", "hf", out, checkpoint=theirs, embedding=7, constant=constant)
    photos = _photos()
    own = LipSim("small", theirs, embedding=7, constant=constant)
    exported = create_metric(str(out), device="cpu")
    torch.testing.assert_close(exported(*photos), own(*photos), atol=1e-12, rtol=0)
    assert read_config(out).trained["sha256"] == file_sha256(theirs)
    said = (out / "README.md").read_text()
    assert ("a constant 1 appended" in said) == (constant == "appended")
    assert ("2 / sqrt(k) being added" in said) == (constant == "added")


def test_only_a_network_of_theirs_takes_their_file(theirs: Path, tmp_path: Path) -> None:
    for model in ("lipsim-tiny", "lipsim-huge"):
        with pytest.raises(ValueError, match="expected lipsim-small, -medium or -large"):
            export(model, "safetensors", tmp_path / "out", checkpoint=theirs)
    with pytest.raises(ValueError, match="needs checkpoint=FILE"):
        export("lipsim-small", "safetensors", tmp_path / "out")
