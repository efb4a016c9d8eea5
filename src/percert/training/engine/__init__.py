"""The engine of long runs: processes, checkpoints that survive kills, logs, averages."""

from percert.training.engine.checkpoint import Checkpoints
from percert.training.engine.devices import Devices, start_fabric
from percert.training.engine.run import Schedule, Task, run
from percert.training.engine.sound import NonFiniteError
from percert.training.engine.together import launched

__all__ = [
    "Checkpoints",
    "Devices",
    "NonFiniteError",
    "Schedule",
    "Task",
    "launched",
    "run",
    "start_fabric",
]
