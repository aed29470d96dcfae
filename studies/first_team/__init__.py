"""A team's classifier read nothing from its codes: their run again, each choice of theirs, and what each one cost."""
