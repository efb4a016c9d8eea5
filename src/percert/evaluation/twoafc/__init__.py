"""2AFC data sets: natural, certified and attacked scores (LipSim, ICLR 2024, section 5)."""
