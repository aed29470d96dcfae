"""New clips drawn from priors over codes, judged from pixels and by law."""
