"""How far ahead the codes foretell motion: from a quarter of the clip, one slice at a time."""
