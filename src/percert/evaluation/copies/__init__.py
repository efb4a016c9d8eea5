"""Copy detection: natural, certified and attacked rates of several detectors."""
