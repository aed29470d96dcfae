"""Networks that others trained on videos and images: I3D, SlowFast, R3D-18, DINOv3, and one loader for all."""
