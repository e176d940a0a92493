"""Networks, training and sampling: arrays in, arrays out. Nothing here knows a label."""
