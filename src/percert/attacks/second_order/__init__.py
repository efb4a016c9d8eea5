"""Perceptual attacks to second order in the cost: SSIM-SQP and the paper's one step."""
