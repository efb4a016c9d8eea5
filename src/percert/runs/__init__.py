"""Attack a whole collection of images: read, batched, recorded, and resumed after a kill."""

from percert.runs.attack import (
    DISTANCES,
    AttackPlan,
    IterationCallback,
    RecordedMetric,
    Step,
    attack_items,
    record_columns,
)
from percert.runs.items import ImageItem, Sample, find_items, read_sample, read_triplets
from percert.runs.labels import Numbered, Probe, number_labels, probe, with_labels
from percert.runs.output import Tally, check_names, folder_names, keep, open_output
from percert.runs.tasks import ClassifierTask, EmbeddingTask, Task, TripletTask

__all__ = [
    "DISTANCES",
    "AttackPlan",
    "ClassifierTask",
    "EmbeddingTask",
    "ImageItem",
    "IterationCallback",
    "Numbered",
    "Probe",
    "RecordedMetric",
    "Sample",
    "Step",
    "Tally",
    "Task",
    "TripletTask",
    "attack_items",
    "check_names",
    "find_items",
    "folder_names",
    "keep",
    "number_labels",
    "open_output",
    "probe",
    "read_sample",
    "read_triplets",
    "record_columns",
    "with_labels",
]
