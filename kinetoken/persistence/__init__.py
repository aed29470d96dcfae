"""Deciding early whether a candidate persists."""
