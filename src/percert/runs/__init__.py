"""Run over a set of images: read, batched by size, measured, kept, and resumed after a kill."""

from percert.runs.attack import IterationCallback, attack_items
from percert.runs.attack_run import run_attacks
from percert.runs.certified import BrokenCertificate
from percert.runs.engine import Progress, RunFolder, RunResult, Step, batches, read_all
from percert.runs.items import (
    ImageItem,
    Sample,
    check_names,
    find_items,
    items_at,
    read_sample,
    read_samples,
    read_triplets,
)
from percert.runs.labels import Numbered, Probe, number_labels, probe, with_labels
from percert.runs.plan import DISTANCES, AttackPlan, RayCluster, RecordedMetric, record_columns
from percert.runs.tasks import ClassifierTask, EmbeddingTask, Task, TripletTask

__all__ = [
    "DISTANCES",
    "AttackPlan",
    "BrokenCertificate",
    "ClassifierTask",
    "EmbeddingTask",
    "ImageItem",
    "IterationCallback",
    "Numbered",
    "Probe",
    "Progress",
    "RayCluster",
    "RecordedMetric",
    "RunFolder",
    "RunResult",
    "Sample",
    "Step",
    "Task",
    "TripletTask",
    "attack_items",
    "batches",
    "check_names",
    "find_items",
    "items_at",
    "number_labels",
    "probe",
    "read_all",
    "read_sample",
    "read_samples",
    "read_triplets",
    "record_columns",
    "run_attacks",
    "with_labels",
]
