"""Providers compared where no language model is at hand: a stand-in answers over a real socket."""
