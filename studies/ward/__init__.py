"""The ward: faults injected for real, each beside its healthy twin, to see whether the doctor names them."""
