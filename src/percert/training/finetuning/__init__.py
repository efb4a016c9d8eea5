"""Fine-tuning on triplets that people judged: a student learns which of two images is closer."""

from percert.training.finetuning.losses import hinge_loss, raw_margin_loss, signed_radius
from percert.training.finetuning.recipe import FinetuneRecipe, read_finetune_recipe
from percert.training.finetuning.run import finetune

__all__ = [
    "FinetuneRecipe",
    "finetune",
    "hinge_loss",
    "raw_margin_loss",
    "read_finetune_recipe",
    "signed_radius",
]
