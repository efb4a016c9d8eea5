"""A few small photographs, a teacher of random weights, and processes that can be killed."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

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


def in_a_child(work: Callable[[], None], environment: dict[str, str] | None = None) -> int:
    """Start ``work`` in a forked process; returns its id. It exits with 0, or 1 if it raised."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.environ.update(environment or {})
        torch.set_num_threads(1)
        work()
        status = 0
    except BaseException:  # noqa: BLE001  # the parent sees the status
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def exit_status(child: int) -> int:
    """What became of a child: its exit status, or minus the signal that killed it."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def kill_oneself() -> None:
    """As ``kill -9`` from outside: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
