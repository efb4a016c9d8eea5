"""Attack runs compared: distances, effort, defences, transfer and saliency."""
