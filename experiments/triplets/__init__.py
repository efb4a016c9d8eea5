"""Which of two images is closer: scores of metrics on triplets."""
