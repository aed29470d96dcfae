"""One training loop for every stage, its checkpoints, its optimizer and its precision."""
