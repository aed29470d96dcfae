"""I3D features and MAGVIT tokens of the same clip, read together: what moves, and where it will be."""
