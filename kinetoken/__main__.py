"""`python -m kinetoken` is the command `kinetoken`, where the package is not installed."""

from kinetoken.cli import app

if __name__ == "__main__":
    app(prog_name="kinetoken")
