"""The engine of long runs: processes, checkpoints that survive kills, logs, averages."""

from percert.training.engine.output import Checkpoints
from percert.training.engine.processes import Devices, launched, start_fabric
from percert.training.engine.run import NonFiniteError, Schedule, TrainingTask, run

__all__ = [
    "Checkpoints",
    "Devices",
    "NonFiniteError",
    "Schedule",
    "TrainingTask",
    "launched",
    "run",
    "start_fabric",
]
