"""The l2 budgets that certificates and attacks are measured at."""

from percert.evaluation.copies_budget import SIDE, psnr, scaled
from percert.evaluation.copies_rates import BUDGETS

__all__ = ["BUDGETS", "SIDE", "psnr", "scaled"]
