"""Every headline of the heads over several seeds: see dvc.yaml."""
