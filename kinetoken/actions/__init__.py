"""Actions that only their order tells apart: a set drawn in Something-Something-V2's layout, and its loader."""
