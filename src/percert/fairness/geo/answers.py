"""Flickr's answers about the images of a list, kept in a journal as they come in.

A run that was killed resumes from the journal, and asks for no photo twice.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from percert.fairness.geo.flickr import Answer, FlickrSettings, Unanswered, ask_locations, photo_id

Asked = Iterator[Answer | Unanswered]


@dataclass(frozen=True)
class Sources:
    """Images and where they come from. ``photos`` maps an image to its photo at Flickr."""

    photos: dict[str, str]
    elsewhere: int


class AnswerJournal:
    """The answers in a file, one line of JSON each, and a way to add to them.

    Made by :func:`open_journal` only, which keeps others out while it is open.
    """

    def __init__(self, file: BinaryIO, answers: dict[str, Answer]) -> None:
        self._file = file
        self.answers = answers

    def add(self, answer: Answer) -> None:
        """Add one answer; it is on disk when this returns."""
        line = json.dumps(asdict(answer), separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.answers[answer.photo] = answer


@contextmanager
def open_journal(path: Path) -> Iterator[AnswerJournal]:
    """The journal at ``path``, made where there is none.

    A last line that a kill tore off is dropped. Raises ``ValueError`` where another run has the
    journal open, or a line in it is no answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file, path)
        file.seek(0)
        whole = file.read()
        kept = whole.rfind(b"\n") + 1
        if kept < len(whole):
            file.truncate(kept)
        answers: dict[str, Answer] = {}
        for number, line in enumerate(whole[:kept].splitlines(), 1):
            try:
                answer = Answer(**json.loads(line))
            except (ValueError, TypeError):
                raise ValueError(f"{path}: line {number} is no answer of Flickr's") from None
            answers[answer.photo] = answer
        yield AnswerJournal(file, answers)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such thing on Windows, where the user has to see to it
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"{path}: another run is writing to it") from None


def read_sources(path: Path) -> Sources:
    """Images and addresses: a CSV with columns ``image`` and ``url``, or ImageNet's own list.

    The latter has a name, a tab and an address in each line. Raises ``ValueError`` for neither, an
    image that is there twice, or a list without any address at Flickr.
    """
    # ImageNet's list is not UTF-8 throughout; addresses at Flickr are ASCII.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: holds no lines")
    if "\t" in lines[0]:
        pairs = [line.split("\t", 1) for line in lines]
    else:
        rows = list(csv.reader(lines))
        header = [name.strip() for name in rows[0]]
        if "image" not in header or "url" not in header:
            raise ValueError(
                f"{path}: expected columns image and url, or a name, a tab and an address in each "
                f"line, found {', '.join(header)[:80]!r}"
            )
        image, url = header.index("image"), header.index("url")
        short = [place for place, row in enumerate(rows, 1) if len(row) <= max(image, url)]
        if short:
            raise ValueError(f"{path}: row {short[0]} has no image or no url")
        pairs = [[row[image], row[url]] for row in rows[1:]]
    photos: dict[str, str] = {}
    elsewhere: set[str] = set()
    for number, pair in enumerate(pairs, 1):
        name = pair[0].strip()
        if len(pair) != 2 or not name:
            raise ValueError(f"{path}: line {number}: expected an image and an address")
        if name in photos or name in elsewhere:
            raise ValueError(f"{path}: duplicate images: {name!r} occurs more than once")
        photo = photo_id(pair[1])
        if photo is None:
            elsewhere.add(name)
        else:
            photos[name] = photo
    if not photos:
        raise ValueError(f"{path}: none of {len(elsewhere)} addresses is a photo at Flickr")
    return Sources(photos, len(elsewhere))


def ask_all(
    sources: Sources,
    key: str,
    journal_path: Path,
    settings: FlickrSettings | None = None,
    *,
    watch: Callable[[Iterable[str], int], Iterable[str]] | None = None,
) -> tuple[dict[str, Answer], dict[str, str], int]:
    """All answers, those that could not be had with the reasons, and how many were asked for now.

    Answers in the journal are not asked for again, and a photo of several images once.
    ``watch(photos, count)`` may pass the photos on, such as through a progress bar.
    """
    with open_journal(journal_path) as journal:
        wanted = dict.fromkeys(sources.photos.values())
        open_photos = [photo for photo in wanted if photo not in journal.answers]
        passing = open_photos if watch is None else watch(open_photos, len(open_photos))
        unanswered: dict[str, str] = {}
        # Without anything to ask, not even the key is needed.
        found: Asked = ask_locations(passing, key, settings) if open_photos else iter(())
        for answer in found:
            if isinstance(answer, Unanswered):
                unanswered[answer.photo] = answer.reason
            else:
                journal.add(answer)
        answers = {photo: journal.answers[photo] for photo in wanted if photo in journal.answers}
    return answers, unanswered, len(open_photos)
