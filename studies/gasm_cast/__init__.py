"""What each part of GASM-CAST is worth: one changed at a time, trained and scored alike."""
