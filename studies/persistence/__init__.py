"""All four extractors over seeds: which decides early persistence best, and beside TEASER."""
