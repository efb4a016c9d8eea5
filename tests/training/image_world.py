"""A few small photographs, a teacher of random weights, and processes that can be killed."""

import io
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from percert.tensors import Embeddings, Images


class ThumbnailTeacher:
    """4 x 4 thumbnails through a fixed random matrix; counts the images that it is asked for."""

    name = "thumbnails"
    fingerprint = "f" * 64

    def __init__(self, width: int = 12) -> None:
        self.weight = torch.randn(48, width, generator=torch.Generator().manual_seed(3))
        self.asked = 0

    def __call__(self, images: Images, /) -> Embeddings:
        self.asked += len(images)
        small = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        return torch.nn.functional.normalize((small - 0.5) @ self.weight, dim=1)


def encoded_images(count: int, size: tuple[int, int] = (40, 32)) -> list[bytes]:
    """PNG files of smooth random colours."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(stream, "PNG")
        found.append(stream.getvalue())
    return found


def image_folder(root: Path, count: int = 12, folders: int = 3) -> Path:
    """``root/0/0.png`` and so on."""
    for number, content in enumerate(encoded_images(count)):
        folder = root / str(number % folders)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(content)
    return root


def in_a_child(
    work: Callable[..., None], *given: Any, environment: dict[str, str] | None = None
) -> BaseProcess:
    """``work(*given)`` in a process of its own, which exits with 0, or 1 if that raised.

    Never forked: this process has threads (torch's, LanceDB's, xdist's), and a lock that one of
    them holds at that moment would stay held in the child for ever.
    """
    child = multiprocessing.get_context("spawn").Process(
        target=_work, args=(work, given, environment or {}), daemon=True
    )
    child.start()
    return child


def _work(work: Callable[..., None], given: tuple[Any, ...], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    work(*given)


def exit_status(child: BaseProcess, seconds: float = 120) -> int:
    """What became of a child: its exit status, or minus the signal that killed it."""
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        raise AssertionError(f"the child process is not over after {seconds} seconds")
    return child.exitcode


def kill_oneself() -> None:
    """As ``kill -9`` from outside: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
