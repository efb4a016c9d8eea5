"""Attack a whole collection of images: read, batched, recorded, and resumed after a kill."""

from percert.attacks.collection.batch import (
    DISTANCES,
    Measure,
    Outcome,
    Plan,
    Watching,
    record_columns,
)
from percert.attacks.collection.items import Item, Subject, find_items, read_subject
from percert.attacks.collection.labels import with_labels
from percert.attacks.collection.local import attack_items
from percert.attacks.collection.output import Tally, check_names, folder_names, keep, open_output
from percert.attacks.collection.probe import Numbered, Probe, number_labels, probe
from percert.attacks.collection.tasks import ClassifierTask, EmbeddingTask, Task, TripletTask
from percert.attacks.collection.triplets import read_triplets

__all__ = [
    "DISTANCES",
    "ClassifierTask",
    "EmbeddingTask",
    "Item",
    "Measure",
    "Numbered",
    "Outcome",
    "Plan",
    "Probe",
    "Subject",
    "Tally",
    "Task",
    "TripletTask",
    "Watching",
    "attack_items",
    "check_names",
    "find_items",
    "folder_names",
    "keep",
    "number_labels",
    "open_output",
    "probe",
    "read_subject",
    "read_triplets",
    "record_columns",
    "with_labels",
]
