"""A job inside its worker: what an attack asks and tells while it goes on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from percert.app.bench import Bench
from percert.app.pictures import write_picture
from percert.app.uploads import Upload
from percert.attacks import Watch

#: Seconds between two words on progress.
SPEAK = 0.1
PROGRESS, PICTURE = "progress", "picture"


class Run:
    """The computation of one job: its clock, its progress, and its folder for pictures.

    ``cut_short`` says that its time was over before the attack had come to its end: the result is
    the best until then.
    """

    def __init__(self, bench: Bench, folder: Path, seconds: float) -> None:
        self.bench, self.folder, self.seconds = bench, folder, seconds
        self.loaded = bench.loaded
        self.cut_short = False
        self._began = time.monotonic()
        self._spoken = float("-inf")
        self._doing = ""

    def watch(self, doing: str, part: int = 0, parts: int = 1) -> Watch:
        """What an attack calls each iteration: progress, cancelling, and the end of its time.

        ``doing`` is what to say, ``part`` which of ``parts`` attacks of equal length this is.
        """

        def watch(done: int, total: int, active: int) -> bool:
            self.check()
            self._say(doing, part * total + min(done, total), parts * total)
            if time.monotonic() - self._began > self.seconds * (part + 1) / parts:
                self.cut_short = True
                return False
            return True

        return watch

    def say(self, doing: str) -> None:
        """What is done now, beyond counting."""
        self._say(doing, 0, 0)

    def check(self) -> None:
        """Raise :class:`~percert.app.bench.Cancelled` where the job is not wanted any longer."""
        self.bench.check()

    def picture(self, name: str, image: Tensor, says: str, *, whole: bool = False) -> None:
        """Keep ``(3, h, w)`` as the picture ``name``, for people, or ``whole`` as it is."""
        self.check()
        with torch.no_grad():
            write_picture(image, self.folder / f"{name}.png", whole=whole)
        self.bench.tell(PICTURE, name, says)

    def _say(self, doing: str, done: int, total: int) -> None:
        now = time.monotonic()
        if doing != self._doing or now - self._spoken > SPEAK:
            self._doing, self._spoken = doing, now
            self.bench.tell(PROGRESS, doing, done, total)


def compute(
    bench: Bench,
    folder: Path,
    seconds: float,
    work: Callable[..., Any],
    uploads: Sequence[Upload],
) -> Any:
    """``work(run, *images)`` of a job's uploads."""
    pixels = bench.limits.pixels
    return work(Run(bench, folder, seconds), *(one.image(pixels) for one in uploads))
