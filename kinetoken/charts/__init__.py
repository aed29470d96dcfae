"""Charts, pictures and the kit of HTML pages that stages and pages share; they know nothing of what they show."""
