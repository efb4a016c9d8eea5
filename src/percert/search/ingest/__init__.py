"""Adding images to a store: sources, views, decoding, embedding, and writing."""
