"""Answers on disk as they come in: a killed run asks no photo twice when it goes on."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from percert.fairness.flickr import Answer


class Journal:
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
def open_journal(path: Path) -> Iterator[Journal]:
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
        yield Journal(file, answers)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such thing on Windows, where the user has to see to it
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"{path}: another run is writing to it") from None
