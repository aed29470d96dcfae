"""Packages that not every use of the library needs, and the extra that brings each."""

from collections.abc import Iterator
from contextlib import contextmanager

from kinetoken.core.errors import UserError

EXTRAS = {  # package as it is imported → extra of pyproject.toml
    "PIL": "pipeline", "altair": "pipeline", "dvc": "pipeline", "dvclive": "pipeline", "huggingface_hub": "pipeline",
    "matplotlib": "pipeline", "rich": "pipeline", "ruamel": "pipeline", "timm": "pipeline", "torchvision": "pipeline",
    "vl_convert": "pipeline",
    "h5py": "formats", "zarr": "formats",
    "httpx2": "llm", "openai": "llm", "sympy": "llm",
    "fastapi": "serve", "prometheus_client": "serve", "pydantic": "serve", "python_multipart": "serve",
    "uvicorn": "serve", "websockets": "serve",
}


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the absence of an optional package into a UserError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        raise UserError(
            f"this needs the package {package}, which is not installed: pip install 'kinetoken[{EXTRAS[package]}]'"
        ) from None
