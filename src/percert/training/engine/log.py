"""What a run says while it goes on: a bar for people, TensorBoard, and records."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from percert.extras import install_extra
from percert.reports.records import RecordStore


class RunLog:
    """Writes ``tensorboard/`` and ``records.parquet`` into ``folder`` and shows a bar on stderr.

    ``loud`` is set for the first process alone: the others log nothing. ``steps`` is the last step,
    ``images`` how many a step sees, in all processes. The bar is for terminals; elsewhere a line
    comes every ``every`` steps.
    """

    def __init__(
        self,
        folder: Path,
        *,
        first: int,
        steps: int,
        images: int,
        every: int,
        loud: bool,
        tensorboard: bool = True,
    ) -> None:
        self.loud = loud
        self.steps, self.images, self.every = steps, images, max(1, every)
        self._first, self._started = first, time.perf_counter()
        self._rows: list[dict[str, Any]] = []
        self._folder = folder
        self._events = _events(folder / "tensorboard", first) if loud and tensorboard else None
        self._shown = loud and sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._shown,
        )
        self._task = self._bar.add_task("training", total=steps, completed=first, said="")

    def __enter__(self) -> "RunLog":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._events is not None:
            self._events.close()

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Step number ``step`` (from 1 on) is done, with these losses."""
        if not self.loud:
            return
        seconds = time.perf_counter() - self._started
        rate = (step - self._first) * self.images / max(seconds, 1e-9)
        said = f"{rate:.0f} images/s  loss {values['loss']:.4g}"
        self._bar.update(self._task, completed=step, said=said)
        if step % self.every and step != self.steps:
            return
        self._rows += [
            {"step": step, "name": name, "value": float(value)}
            for name, value in {**values, "images_per_second": rate}.items()
        ]
        if self._events is not None:
            _add(self._events, step, {**values, "images_per_second": rate})
        if not self._shown:
            left = (self.steps - step) * seconds / max(1, step - self._first)
            parts = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            sys.stderr.write(
                f"step {step}/{self.steps}  {parts}  {rate:.0f} images/s  {left:.0f} s left\n"
            )

    def keep(self, *, last: bool = False) -> None:
        """Put the records on the disk; at the ``last`` time into one file."""
        if not self.loud:
            return
        columns = {"step": int, "name": str, "value": float}
        store = RecordStore(self._folder, columns, key=("step", "name"))
        store.append(self._rows)
        self._rows = []
        if last:
            store.merge(order=lambda row: (row["step"], row["name"]))


def _events(folder: Path, first: int) -> Any:
    """A writer of TensorBoard's files; what an earlier run wrote after ``first`` is void."""
    try:
        from tensorboard.compat.proto.event_pb2 import (  # type: ignore[import-untyped]
            Event,
            SessionLog,
        )
        from tensorboard.summary.writer.event_file_writer import (  # type: ignore[import-untyped]
            EventFileWriter,
        )
    except ModuleNotFoundError:
        raise ValueError(
            f"training: needs tensorboard, or tensorboard=False: {install_extra('train')}"
        ) from None
    writer = EventFileWriter(str(folder))
    if first:
        started = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=first + 1, session_log=started))
    return writer


def _add(writer: Any, step: int, values: Mapping[str, float]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

    summary = Summary()
    for name, value in values.items():
        summary.value.add(tag=name, simple_value=value)
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
