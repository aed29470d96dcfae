"""Patients from elsewhere: codes of other libraries' quantizers and hand-made tables, sound and broken."""
