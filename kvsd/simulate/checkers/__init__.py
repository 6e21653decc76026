"""Judges of a history, who know what clients saw and nothing of how kvsd works."""
