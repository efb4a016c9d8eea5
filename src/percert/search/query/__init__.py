"""Questions to a store: nearest images, copies, duplicates and thresholds, with what is proven."""
