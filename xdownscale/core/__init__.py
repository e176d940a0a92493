"""Answers that all rooms share: labels, grids, time, missing values, normalization, blocks."""
