"""The pipeline's stages: one standalone script each, `python -m stages.NAME --help`."""
