"""What a run writes: checkpoints that survive kills, a progress bar, TensorBoard, records."""

import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from percert.extras import install_extra
from percert.files import replacing, write_whole
from percert.reports.records import RecordStore

_NAME = re.compile(r"^step-(\d{10})$")
MODEL, STATE, NUMBERS = "model.safetensors", "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: weights, other tensors by name, and what JSON holds."""

    step: int
    model: dict[str, Tensor]
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """``folder/step-NNNNNNNNNN``, each of ``model.safetensors``, ``state.safetensors`` and JSON.

    A checkpoint is written under another name, flushed to the disk and renamed: whenever a process
    is killed, the folders with these names are whole. The ``keep`` latest stay.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Checkpoints(Path(folder))
    ...     kept.save(Checkpoint(3, {"w": torch.ones(1)}, {}, {"seen": 12}))
    ...     kept.latest().numbers
    {'seen': 12}
    """

    folder: Path
    keep: int = 2

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and delete those that are superseded."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f".unfinished-{secrets.token_hex(8)}"
        unfinished.mkdir()
        for name, tensors in ((MODEL, checkpoint.model), (STATE, checkpoint.tensors)):
            with replacing(unfinished / name) as waiting:
                save_file(_contiguous(tensors), waiting)
        held = {"step": checkpoint.step, **checkpoint.numbers}
        write_whole(unfinished / NUMBERS, json.dumps(held))
        target = self.folder / f"step-{checkpoint.step:010d}"
        if target.exists():  # of the same run, interrupted before it deleted anything
            shutil.rmtree(target)
        os.rename(unfinished, target)
        _flush(self.folder)
        for path in self._all()[: -self.keep]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".unfinished-*"):
            shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """The last checkpoint, or ``None``. Raises ``ValueError`` for one that is damaged."""
        found = self._all()
        return None if not found else read_checkpoint(found[-1])

    def _all(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.match(path.name))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in ``folder``. Raises ``ValueError`` where something is missing or damaged."""
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        model, tensors = load_file(folder / MODEL), load_file(folder / STATE)
        return Checkpoint(int(numbers.pop("step")), model, tensors, numbers)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"{folder}: not a checkpoint that can be read ({error})") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter, by its number and name: what safetensors can hold."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value).detach().clone()
        for number, values in state.items()
        for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of :func:`optimizer_tensors`; the settings stay those of ``optimizer``."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _flush(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename does not come before the bytes."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # folders cannot be opened on every system
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


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
        self._events = _writer(folder / "tensorboard", first) if loud and tensorboard else None
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
            for name, value in {**values, "images_per_second": rate}.items():
                self._events.add_scalar(name, value, step)
        if not self._shown:
            left = (self.steps - step) * seconds / max(1, step - self._first)
            parts = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            sys.stderr.write(
                f"step {step}/{self.steps}  {parts}  {rate:.0f} images/s  {left:.0f} s left\n"
            )

    def keep(self, *, last: bool = False) -> None:
        """Append the records to the disk; at the ``last`` call, merge them into one file."""
        if not self.loud:
            return
        columns = {"step": int, "name": str, "value": float}
        store = RecordStore(self._folder, columns, key=("step", "name"))
        store.append(self._rows)
        self._rows = []
        if last:
            store.merge(order=lambda row: (row["step"], row["name"]))


def _writer(folder: Path, first: int) -> Any:
    """A writer of TensorBoard's files; what an earlier run wrote after step ``first`` is purged."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise ValueError(
            f"training: needs tensorboard, or tensorboard=False: {install_extra('train')}"
        ) from None
    return SummaryWriter(str(folder), purge_step=first + 1 if first else None)
