"""Model files: write, read and check them."""
