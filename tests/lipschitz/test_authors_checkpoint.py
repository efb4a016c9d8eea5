"""The loader of the authors' checkpoints, against a plain implementation of their network."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from experiments.speed.certificates import PlainLipSim, published_state
from percert.audit.network import audit_network
from percert.lipschitz.architectures import (
    SIZES,
    LipSimSize,
    lipsim_network,
    read_authors_checkpoint,
)
from percert.metrics.certified.lipsim import LipSim, authors_network

SIZE = LipSimSize(3, 6, 2, 10, embedding=20, side=32)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "small" is tiny here: the real one takes seconds and 270 MB."""
    monkeypatch.setitem(SIZES, "small", SIZE)


@pytest.fixture
def authors() -> torch.nn.Module:
    network = PlainLipSim(**asdict(SIZE)).eval()
    with torch.no_grad():
        network.convs[1].kernel[2] = 0  # a row of zeros: their 1/t is 0 there
        network.linear[1].weight[3] = 0
    return network


def save(network: torch.nn.Module, path: Path) -> Path:
    torch.save(published_state(network), path)
    return path


def test_embeddings_equal_the_authors(authors: torch.nn.Module, tmp_path: Path) -> None:
    metric = LipSim("small", save(authors, tmp_path / "model.ckpt-1.pth")).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = authors.double()(x.double())
        assert (metric.embed(x) - expected).abs().max() <= 1e-5
        # Their distance: cosine of [h; 1].
        one = torch.cat((expected, torch.ones(4, 1, dtype=torch.float64)), 1)
        cosine = torch.nn.functional.cosine_similarity(one[:2], one[2:])
        assert torch.allclose(metric(x[:2], x[2:]), 1 - cosine, atol=1e-5)
    assert metric.constant == 1.0
    assert metric.resolution == (32, 32)


def test_a_bare_state_dict_and_half_precision_are_fine(
    authors: torch.nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "bare.pth"
    torch.save({k: v.half() for k, v in authors.state_dict().items()}, path)
    metric = LipSim("small", path).eval()
    x = torch.rand(1, 3, 32, 32)
    assert (metric.embed(x) - authors(x)).abs().max() < 1e-2
    # Computed in float64, as all metrics with certificates are.
    assert all(p.dtype == torch.float64 for p in metric.network.parameters())


def test_our_own_safetensors(tmp_path: Path) -> None:
    network = lipsim_network(SIZE).eval()
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    x = torch.rand(1, 3, 32, 32)
    loaded = LipSim("small", str(tmp_path / "own.safetensors")).eval()
    assert torch.allclose(loaded.embed(x), network.double()(x.double()), atol=1e-12)


def test_random_weights_are_seeded() -> None:
    state = torch.random.get_rng_state()
    first, second = LipSim("small", "random"), LipSim("small", "random")
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.rand(1, 3, 40, 30)
    assert torch.equal(first.eval().embed(x), second.eval().embed(x))
    # Antialiased bicubic from 40 x 30.
    expected = torch.nn.functional.interpolate(x, (32, 32), mode="bicubic", antialias=True)
    assert torch.allclose(first.embed(x), first.network(expected.double()), atol=1e-4)


def broken(state: dict, how: str) -> object:
    key = "module.model.convs.0.kernel"
    if how == "missing":
        del state[key]
    elif how == "unexpected":
        state["module.model.head.weight"] = torch.zeros(1)
    elif how == "shape":
        state[key] = state[key][:, :4]
    elif how == "nan":
        state[key] = torch.full_like(state[key], float("nan"))
    elif how == "two networks":
        state |= {k.replace("model", "other"): v for k, v in state.items()}
    elif how == "deeper":
        state |= {k.replace("convs.0", "convs.7"): v for k, v in state.items()}
    return {"model_state_dict": state}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"missing \['module.model.convs.0.kernel'\] \(1 in all\)"),
        ("unexpected", r"unexpected \['module.model.head.weight'\] \(1 in all\)"),
        ("shape", r"convs.0.kernel: expected shape \(5, 6, 3, 3\), found \(5, 4, 3, 3\)"),
        ("nan", "convs.0.kernel: holds NaN"),
        ("two networks", "expected the layers of one network"),
        ("deeper", r"not a network of 3 convolutional .* unexpected \['module.model.convs.7"),
    ],
)
def test_checkpoints_that_do_not_fit(
    authors: torch.nn.Module, tmp_path: Path, how: str, message: str
) -> None:
    state = published_state(authors)["model_state_dict"]
    torch.save(broken(state, how), tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=rf"bad\.pth: .*{message}"):
        LipSim("small", tmp_path / "bad.pth")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code of the file has run",))


def test_other_files_are_errors_and_run_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "text.pth": b"hello",
        "empty.pth": b"",
        "zip.pth": b"PK\x03\x04 not a zip",
        "text.safetensors": b"hello, this is no header",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: not a"):
            LipSim("small", tmp_path / name)
    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth: not a PyTorch checkpoint of plain tensors"):
        LipSim("small", tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a dict of tensors"):
        LipSim("small", tmp_path / "list.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not fit lipsim-small"):
        LipSim("small", tmp_path / "other.safetensors")
    for name in ("none.pth", "none.safetensors"):
        with pytest.raises(ValueError, match=f"{name}: no such file"):
            LipSim("small", tmp_path / name)


def test_without_a_checkpoint_it_says_where_to_get_one() -> None:
    with pytest.raises(ValueError, match=r"lipsim-small: needs a checkpoint: .*github\.com"):
        LipSim("small", None)
    with pytest.raises(ValueError, match="expected size 'small', 'medium', 'large', found 'tiny'"):
        LipSim("tiny", "random")


#: Inner widths that nobody would guess, and five embedding values of twenty-four.
ODD = LipSimSize(3, 6, 2, 13, conv_inner=3, embedding=20, side=32)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    return save(PlainLipSim(**asdict(ODD)).eval(), tmp_path / "odd.pth")


def test_inner_widths_are_those_of_the_file(odd: Path) -> None:
    state, size = read_authors_checkpoint(odd, SIZE)
    assert size == ODD
    assert state["layers.1.weight"].shape == (3, 6, 3, 3)
    x = torch.rand(2, 3, 32, 32)
    network = PlainLipSim(**asdict(ODD)).eval()
    saved = torch.load(odd)["model_state_dict"]
    network.load_state_dict({k.removeprefix("module.model."): v for k, v in saved.items()})
    assert torch.allclose(LipSim("small", odd).embed(x), network.double()(x.double()), atol=1e-5)


def test_all_but_the_embedding_is_read_off_the_file(odd: Path) -> None:
    assert read_authors_checkpoint(odd, embedding=20)[1] == ODD
    network, shape = authors_network(odd, "theirs", embedding=17)
    assert shape.lipsim == replace(ODD, embedding=17)
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 17)
    assert LipSim("small", odd, embedding=5).embed(torch.rand(1, 3, 32, 32)).shape == (1, 5)


def test_layers_of_different_widths_are_no_network(odd: Path) -> None:
    state = torch.load(odd)
    layer = state["model_state_dict"]
    layer["module.model.linear.2.bias"] = torch.zeros(12)
    torch.save(state, odd)
    with pytest.raises(ValueError, match=r"odd\.pth: linear\.2\.bias: expected shape \(13,\)"):
        LipSim("small", odd)


def test_the_constant_is_appended_added_or_left_out(odd: Path) -> None:
    """The three that the authors' code had, against what it does to an embedding."""
    x, y = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = LipSim("small", odd, constant="none")
    h, g = plain.embed(x), plain.embed(y)
    ones = torch.ones(2, 1, dtype=torch.float64)
    root = 2 / math.sqrt(h.shape[1])
    seen = {
        "none": (h, g),
        "appended": (torch.cat((h, ones), 1), torch.cat((g, ones), 1)),
        "added": (h + root, g + root),
    }
    for constant, pair in seen.items():
        metric = LipSim("small", odd, constant=constant)  # type: ignore[arg-type]
        cosine = torch.nn.functional.cosine_similarity(*pair)
        torch.testing.assert_close(metric(x, y), 1 - cosine, atol=1e-9, rtol=0)
        assert metric.bound((32, 32)).value == plain.bound((32, 32)).value
        assert metric.proven  # its rounding is bounded
        assert audit_network(metric, steps=2).passed
    with pytest.raises(ValueError, match="constant"):
        LipSim("small", odd, constant="both")  # type: ignore[arg-type]
