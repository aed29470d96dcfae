"""I3D + MAGVIT with one part taken out or replaced at a time: what each is good for."""
