"""Metrics between embeddings of proven Lipschitz constant, for which there are certificates."""
