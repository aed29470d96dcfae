"""GASM-CAST: what a clip shows and how it moves, two streams of tokens, fused by attention."""
