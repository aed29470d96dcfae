"""Which tokens carried the decision of the classifier of codes, and what shows that the answer can be trusted."""
