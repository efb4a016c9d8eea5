"""Fine-tuning on triplets that people judged: a student learns which of two images is closer."""

from percert.training.finetuning.run import finetune
from percert.training.finetuning.triplets import FinetuneRecipe, read_finetune_recipe
from percert.training.losses import hinge_loss, raw_margin_loss, signed_radius

__all__ = [
    "FinetuneRecipe",
    "finetune",
    "hinge_loss",
    "raw_margin_loss",
    "read_finetune_recipe",
    "signed_radius",
]
