"""Answers of the pages with what they were made of: what follows is asked of the same images.

An attack on an answer, or another eps for it, must not depend on what a form holds by then.
"""

import secrets
import shutil
import threading
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from percert.app.limits import Limits
from percert.app.refusal import Refused
from percert.app.uploads import Upload

if TYPE_CHECKING:
    from percert.app.pair_answer import PairQuestion
    from percert.app.triplet_answer import TripletQuestion

Question = TypeVar("Question", "PairQuestion", "TripletQuestion")


@dataclass(frozen=True, eq=False)
class Kept:
    """A question whose files lie in ``folder``, ``size`` bytes of them, since the time ``made``."""

    id: str
    question: "PairQuestion | TripletQuestion"
    folder: Path
    size: int
    made: float


class KeptAnswers:
    """What the last answers were made of: for ``kept_seconds``, and ``kept_bytes`` of files."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()

    def keep(self, question: Question) -> Kept:
        """Keep the question with copies of its files; the oldest are forgotten for it."""
        folder = self._folder / f"answer-{secrets.token_hex(8)}"
        folder.mkdir()
        copies: dict[str, Any] = {
            role: one.keep(folder / role) for role, one in _uploads(question).items()
        }
        size = sum((folder / role).stat().st_size for role in copies)
        asked = replace(question, **copies)
        kept = Kept(secrets.token_urlsafe(16), asked, folder, size, time.monotonic())
        with self._lock:
            self._kept[kept.id] = kept
        self.tidy()
        return kept

    def find(self, kept_id: str, kind: type[Question]) -> Question:
        """The question of an answer; :class:`Refused` (404) where it is forgotten."""
        self.tidy()
        kept = self._kept.get(kept_id)
        if kept is None or not isinstance(kept.question, kind):
            raise Refused(404, "That answer is no longer kept: send the images once more.")
        return kept.question

    def picture(self, kept_id: str, role: str) -> tuple[Upload, Path]:
        """One of its images, and where the PNG of it belongs that is shown."""
        self.tidy()
        kept = self._kept.get(kept_id)
        uploads = {} if kept is None else _uploads(kept.question)
        if kept is None or role not in uploads:
            raise Refused(404, "There is no such picture.")
        return uploads[role], kept.folder / f"{role}.png"

    def tidy(self) -> None:
        """Forget what is too old, and the oldest of what is too much together."""
        now = time.monotonic()
        with self._lock:
            held = sorted(self._kept.values(), key=lambda one: one.made, reverse=True)
            total, gone = 0, []
            for kept in held:
                total += kept.size
                old = now - kept.made > self._limits.kept_seconds
                if old or (total > self._limits.kept_bytes and kept is not held[0]):
                    gone.append(self._kept.pop(kept.id))
        for kept in gone:
            shutil.rmtree(kept.folder, ignore_errors=True)


def _uploads(question: Any) -> dict[str, Upload]:
    """The files of a question, by its own names for them."""
    values = {field.name: getattr(question, field.name) for field in fields(question)}
    return {name: value for name, value in values.items() if isinstance(value, Upload)}
