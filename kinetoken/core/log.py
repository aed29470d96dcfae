"""One log file a stage: what its process says on standard output and error goes to a file too."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kinetoken.core.errors import UserError


class _Tee:
    """A text stream that also writes whole lines to a file; progress bars, which return to their line, are left out."""

    def __init__(self, stream: TextIO, sink: TextIO) -> None:
        self._stream, self._sink = stream, sink

    def write(self, text: str) -> int:
        if "\r" not in text and not self._sink.closed:
            self._sink.write(text)
            self._sink.flush()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Write what is printed meanwhile to `path` as well, the log of the run before replaced; nothing for None."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    streams = sys.stdout, sys.stderr
    with path.open("w", encoding="utf-8", errors="backslashreplace") as sink:
        sys.stdout, sys.stderr = (_Tee(stream, sink) for stream in streams)
        try:
            yield
        except UserError as error:
            sink.write(f"error: {error}\n")
            raise
        except BaseException:
            traceback.print_exc(file=sink)
            raise
        finally:
            sys.stdout, sys.stderr = streams
