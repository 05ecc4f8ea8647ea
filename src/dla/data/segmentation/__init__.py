"""Scenes and streets with a class for each pixel."""
