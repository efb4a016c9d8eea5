"""What was done of a plan: ``PLAN.journal``, a line of JSON before and after each step."""

import json
import os
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

#: What was last written of a step. ``None`` is nothing: as it was before the plan was applied.
State: TypeAlias = Literal["begun", "done", "purged"] | None


def journal_of(plan: str | os.PathLike[str]) -> Path:
    """Where the journal of the file ``plan`` lies."""
    return Path(plan).with_name(Path(plan).name + ".journal")


@final
class Journal:
    """What was done of the plan whose bytes have the hash ``digest``: ``states`` by step.

    Of any plan, with ``None``. Raises ``ValueError`` for the journal of another plan, and for what
    is none. What was being written when the machine stopped is half a line, and had not begun.
    """

    def __init__(self, path: Path, digest: str | None, *, write: bool = False) -> None:
        self.path, self.digest = path, digest or ""
        self.states: dict[int, State] = {}
        whole = self._read(digest)
        self._stream: Any = None
        if write:
            self._stream = path.open("ab")
            self._stream.truncate(whole)
            if not whole:
                self._append({"plan": digest})

    def _read(self, digest: str | None) -> int:
        """The bytes of whole lines there are."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        whole = content.rfind(b"\n") + 1
        try:
            first, *lines = [json.loads(line) for line in content[:whole].splitlines()] or [None]
            found = digest if first is None else first["plan"]
            self.states = {line["step"]: line["state"] for line in lines}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.path}: not the journal of a plan") from None
        if digest not in (None, found):
            raise ValueError(
                f"{self.path}: of another plan, or of this one before it was changed; "
                "give the plan another name"
            )
        return whole

    @property
    def in_use(self) -> bool:
        """Whether there is anything that could be undone or purged."""
        return any(state in ("begun", "done") for state in self.states.values())

    def write(self, number: int, state: State) -> None:
        """Keep what is about to be, or was, done; on the disk when this returns."""
        self._append({"step": number, "state": state})
        self.states[number] = state

    def _append(self, line: dict[str, Any]) -> None:
        self._stream.write(json.dumps(line).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
