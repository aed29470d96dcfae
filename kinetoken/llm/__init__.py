"""Asking a language model: a client with retries, a spend cap and a ledger that outlives the run."""
