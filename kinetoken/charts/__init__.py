"""Charts and pictures that stages and pages share; they know nothing of what they show."""
