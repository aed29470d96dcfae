"""Two revisions of the repository compared, `kinetoken compare`: what changed, what ran again, what came of it."""
