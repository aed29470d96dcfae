"""One page that tells what a run found: read, drawn as charts that lead to clips, put together by Jinja2."""
