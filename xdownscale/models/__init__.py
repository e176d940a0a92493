"""The torch wing: arrays in, arrays out. Nothing here knows a label."""
