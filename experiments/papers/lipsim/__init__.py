"""LipSim: A Provably Robust Perceptual Similarity Metric (ICLR 2024), table by table."""
