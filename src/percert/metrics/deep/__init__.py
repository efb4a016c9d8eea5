"""Metrics that compare what trained networks make of two images: LPIPS, DISTS, ..."""
