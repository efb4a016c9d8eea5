"""A data set of photographs by the country they were taken in."""
