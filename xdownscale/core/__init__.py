"""What all packages below share: labels, grids, time, missing values, normalization, blocks."""
