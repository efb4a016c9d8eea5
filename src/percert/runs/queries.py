"""Image files asked of a store: several in one pass, what cannot be read set apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor

from percert.images import LeftOut
from percert.reports.budgets import Budget
from percert.runs.engine import Progress, Step, batches, silent
from percert.runs.items import Sample, items_at, read_samples

Answer = TypeVar("Answer")
#: Asks for the answers to images ``(3, h, w)`` with these names, at one l2 length or none.
Ask = Callable[[list[Tensor], float | None, list[str]], Sequence[Answer]]
#: Images that are asked in one pass.
TOGETHER = 64


@dataclass(frozen=True)
class FileAnswers(Generic[Answer]):
    """An answer a file, in order; (name, reason) of those that are ``bad``; what was left out."""

    answers: list[Answer]
    bad: list[tuple[str, str]]
    left_out: list[LeftOut]


def ask_files(
    images: Sequence[Path],
    ask: Ask[Answer],
    eps: Budget | None = None,
    *,
    progress: Progress = silent,
) -> FileAnswers[Answer]:
    """Ask a question about each of ``images``, files and folders, up to :data:`TOGETHER` at once.

    ``ask`` is such as :meth:`percert.search.Store.search` or ``copies``; ``eps`` becomes the l2
    length that it is at each image's size. Raises ``ValueError`` where there are no images.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> from percert.search import open_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_image(torch.rand(3, 20, 30), f"{folder}/a.png")
    ...     store = open_store(f"{folder}/store", Thumbnail(8))
    ...     added = store.add_files([f"{folder}/a.png"])
    ...     ask = lambda some, eps, names: store.search(some, 1, eps, names=names)
    ...     found = ask_files([Path(folder, "a.png")], ask)
    >>> [round(answer.results[0].distance, 6) for answer in found.answers]
    [0.0]
    """

    def length(one: Sample) -> float | None:
        return None if eps is None else eps.length((one.image.shape[-2], one.image.shape[-1]))

    def read() -> Iterator[Sample | Step]:
        for done, one in enumerate(read_samples(items)):
            progress("searching", done, len(items))
            yield one

    answers: list[Answer] = []
    bad: list[tuple[str, str]] = []
    left_out: list[LeftOut] = []
    items = items_at(images, left_out)
    for batch in batches(read(), length, TOGETHER, in_order=True):
        if isinstance(batch, Step):
            bad.append((str(batch.bad), batch.reason))
        else:
            names = [one.item.name for one in batch]
            answers += ask([one.image for one in batch], length(batch[0]), names)
    return FileAnswers(answers, bad, left_out)
