"""Checkpoints: a folder each, there as a whole or not at all."""

import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

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
        save_file(_contiguous(checkpoint.model), unfinished / MODEL)
        save_file(_contiguous(checkpoint.tensors), unfinished / STATE)
        held = {"step": checkpoint.step, **checkpoint.numbers}
        (unfinished / NUMBERS).write_text(json.dumps(held), encoding="utf-8")
        for name in (MODEL, STATE, NUMBERS):
            _flush(unfinished / name)
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
    """To the disk, so that a rename does not come before what it names."""
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
