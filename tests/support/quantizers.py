"""Quantizer params for tests."""

import dataclasses

from kinetoken.tokenizer.quantizers import QuantizerParams

FSQ = QuantizerParams(
    kind="fsq", levels=(8, 5, 5, 5), codebook_size=64, code_dim=6, weight=1.0, commitment=0.25, entropy=0.02,
    decay=0.9, kmeans_start=True, dead_code_threshold=0.5, rotation=True, contrastive=0.0,
)


def quantizer_params(kind: str, **changes: object) -> QuantizerParams:
    """Of a small codebook of that kind."""
    return dataclasses.replace(FSQ, kind=kind, **changes)  # type: ignore[arg-type]
