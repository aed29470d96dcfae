"""Equations and words for a motion: safe parsing, the offline fit, and scoring against the truth."""
