"""Video files: decoded whole or a few frames at a time, cut into windows, brought to a size."""
