"""Robust training on imperceptible attacks: Algorithm 2 makes D, Algorithm 3 trains on it."""

from percert.training.dro.dataset import AdversarialDataset, open_dataset
from percert.training.dro.recipe import (
    AdversarialRecipe,
    DRORecipe,
    DROSettings,
    RoundSettings,
    read_adversarial_recipe,
    read_dro_recipe,
)
from percert.training.dro.rounds import make_adversarial_dataset
from percert.training.dro.run import DatasetSummary, adversarial_dataset, train_dro
from percert.training.dro.train import train_models

__all__ = [
    "AdversarialDataset",
    "AdversarialRecipe",
    "DRORecipe",
    "DROSettings",
    "DatasetSummary",
    "RoundSettings",
    "adversarial_dataset",
    "make_adversarial_dataset",
    "open_dataset",
    "read_adversarial_recipe",
    "read_dro_recipe",
    "train_dro",
    "train_models",
]
