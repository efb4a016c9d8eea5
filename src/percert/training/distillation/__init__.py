"""Distillation: a 1-Lipschitz student learns a teacher's embeddings (LipSim, section 4.2)."""

from percert.training.distillation.losses import relational_loss
from percert.training.distillation.recipe import DistillRecipe, read_distill_recipe
from percert.training.distillation.run import distill
from percert.training.losses import rmse

__all__ = ["DistillRecipe", "distill", "read_distill_recipe", "relational_loss", "rmse"]
