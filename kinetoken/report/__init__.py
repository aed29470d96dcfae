"""One page that tells what a run found: read, drawn as inline SVG and sprite strips, put together by Jinja2."""
