"""Pretrained models: find one by its name, publish one for others."""
