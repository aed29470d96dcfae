"""The version of the library and of its command."""

__version__ = "0.1.0"
