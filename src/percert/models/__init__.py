"""Image classifiers as things that take sRGB images in [0, 1]."""
