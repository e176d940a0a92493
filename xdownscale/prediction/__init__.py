"""Generate fine fields from a coarse record with a fitted model."""
