"""Which device to compute on, how many cores, and full float32 there: no TF32, no autocast.

Whatever precision the caller has allowed, certificates allow for float32 rounding alone.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

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


def usable_cores() -> int:
    """The processor cores that this process may use, where the system tells."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """What turns autocast off on ``device``; nothing where there is none, as on ``meta``.

    >>> with without_autocast(torch.device("meta")):
    ...     torch.ones(2, device="meta").dtype
    torch.float32
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Computes in the tensors' own precision inside the ``with`` block.

    A certificate allows for float32 rounding of the embedding. TF32, which is torch's default for
    convolutions on a GPU, rounds to 10 bits instead, and autocast to 7 or 10. So do CPUs with units
    for it once the caller has asked torch for a lower precision of float32 products.

    A compiler cannot follow these switches: while a lower precision is allowed, ``ValueError`` is
    raised in what it traces, upon which it leaves the call to be run as it is, with the switches.

    >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    with without_autocast(device):
        if torch.compiler.is_compiling():
            if _rounds(device.type):
                raise ValueError("TF32 or bfloat16 is allowed for products of float32")
            yield
        elif device.type == "cuda":
            with without_tf32():
                yield
        elif device.type == "cpu":
            with _highest_on_cpu():
                yield
        else:
            yield


def _rounds(device: str) -> bool:
    """Whether the caller allows products of float32 of less than its precision."""
    if device == "cuda":
        cudnn: Any = torch.backends.cudnn
        matmul: Any = torch.backends.cuda.matmul
        if hasattr(cudnn, "conv"):
            return any(switch.fp32_precision != "ieee" for switch in (cudnn.conv, matmul))
        return bool(cudnn.allow_tf32 or matmul.allow_tf32)
    onednn: Any = torch.backends.mkldnn
    if hasattr(onednn, "matmul"):
        return any(
            switch.fp32_precision not in ("ieee", "none") for switch in (onednn.conv, onednn.matmul)
        )
    return torch.get_float32_matmul_precision() != "highest"


# Asked once, while it is traced (torch.compiler.assume_constant_result, which loads the compiler).
_rounds._dynamo_marked_constant = True  # type: ignore[attr-defined]


@contextmanager
def without_tf32() -> Iterator[None]:
    """Switches TF32 off for convolutions and matrix products, and back to what it was."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    # torch >= 2.9 refuses to mix these switches with the older allow_tf32, which is all that
    # torch 2.5 to 2.8 have.
    new = hasattr(cudnn, "conv")
    switches = (cudnn.conv, matmul) if new else (cudnn, matmul)
    name = "fp32_precision" if new else "allow_tf32"
    found = [getattr(switch, name) for switch in switches]
    try:
        for switch in switches:
            setattr(switch, name, "ieee" if new else False)
        yield
    finally:
        for switch, value in zip(switches, found, strict=True):
            setattr(switch, name, value)


@contextmanager
def _highest_on_cpu() -> Iterator[None]:
    """As :func:`without_tf32`, for oneDNN, which may also round to bfloat16."""
    onednn: Any = torch.backends.mkldnn
    if hasattr(onednn, "matmul"):
        found = [switch.fp32_precision for switch in (onednn.conv, onednn.matmul)]
        try:
            onednn.conv.fp32_precision = onednn.matmul.fp32_precision = "ieee"
            yield
        finally:
            onednn.conv.fp32_precision, onednn.matmul.fp32_precision = found
        return
    asked = torch.get_float32_matmul_precision()  # torch 2.5 to 2.8
    try:
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        torch.set_float32_matmul_precision(asked)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; whether it does (with glibc alone).

    By itself glibc gives large blocks back and takes them anew, zeroed page by page, for every
    batch of a network: a tenth of the processor's time. It changes the whole process, so that
    commands ask for it and the library does not. What ``MALLOC_`` variables of the environment say
    is left as it is.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    # M_MMAP_MAX: no block from the system of its own; M_TRIM_THRESHOLD: nothing goes back.
    return bool(mallopt(-4, 0) and mallopt(-1, 2**31 - 1))
