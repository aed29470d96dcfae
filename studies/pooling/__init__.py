"""Poolings of codes, and ways a code enters, by the same head on the same clips: what must be kept to read a motion."""
