"""Noise schedules, samplers, noise and its statistics."""
