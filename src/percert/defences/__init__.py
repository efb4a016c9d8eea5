"""Preprocessing defences: functions from images to images, which may take an attack's change away.

>>> import torch
>>> from percert.defences import create_defence
>>> defended = create_defence("bits-4")(torch.rand(1, 3, 8, 8))
"""

from percert.defences.catalog import Defence, create_defence, list_defences

__all__ = ["Defence", "create_defence", "list_defences"]
