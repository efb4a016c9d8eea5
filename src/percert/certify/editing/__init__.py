"""Edits by their parameter: what each makes, and for which values an answer is proven."""
