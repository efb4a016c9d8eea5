"""What metrics, attacks, defences and copy detectors are worth, measured on images."""
