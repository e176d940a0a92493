"""Fit a downscaling model: pair the records, prepare training data, train."""
