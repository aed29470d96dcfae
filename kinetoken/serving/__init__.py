"""Trained models over HTTP: `kinetoken serve` (docs/deploy.md)."""
