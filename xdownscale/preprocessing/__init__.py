"""Validate the records and turn them into network inputs."""
