"""Distillation: a 1-Lipschitz student learns a teacher's embeddings (LipSim, section 4.2)."""

from percert.training.distillation.run import DistillRecipe, distill, read_distill_recipe
from percert.training.losses import mean_length, relational_loss, rmse

__all__ = [
    "DistillRecipe",
    "distill",
    "mean_length",
    "read_distill_recipe",
    "relational_loss",
    "rmse",
]
