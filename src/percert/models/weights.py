"""Reading the weights of a classifier, never running what a file says."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

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
