"""Robust training on imperceptible attacks: Algorithm 2 makes D, Algorithm 3 trains on it."""
