"""What the server computes: one module for each page, of percert's own functions."""
