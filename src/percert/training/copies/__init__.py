"""Training a network to know copies, certified: how ``lipsim-tiny`` was made."""

from percert.training.copies.recipe import CopiesRecipe, read_copies_recipe
from percert.training.copies.run import train_copies

__all__ = ["CopiesRecipe", "read_copies_recipe", "train_copies"]
