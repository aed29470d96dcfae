"""Adapters for tokenizers of known libraries; each takes the model, loaded by its own library."""
