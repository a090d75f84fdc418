"""Answers that were made elsewhere: coordinates, or place names that are resolved to coordinates."""
