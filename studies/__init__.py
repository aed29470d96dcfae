"""Longer comparisons, each a DVC pipeline of its own beside the scripts and params it needs."""
