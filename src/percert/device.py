"""Which device to compute on."""

import torch


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device named ``device``: ``"auto"`` is CUDA where there is a working GPU, else the CPU.

    Raises ``ValueError`` for a name that torch does not know and for a GPU that is not there.

    >>> resolve_device("cpu")
    device(type='cpu')
    >>> resolve_device("gpu")
    Traceback (most recent call last):
    ValueError: device: expected 'auto', 'cpu', 'cuda' or 'cuda:N', found 'gpu'
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(
            f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:N', found {str(device)!r}"
        )
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise ValueError(f"device: {str(found)!r} is not available, torch sees {count} GPUs")
    return found
