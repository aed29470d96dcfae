"""Examine a whole tokenizer on rendered motion whose physics is known, and write its motion card."""
