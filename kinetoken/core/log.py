"""One log file a stage: what its process says on standard output and error goes to a file too."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from kinetoken.core.errors import UserError
from kinetoken.core.terminal import tell


class _Tee:
    """A text stream that also writes whole lines to a file; progress bars, which return to their line, are left out."""

    def __init__(self, stream: TextIO, sink: TextIO) -> None:
        self._stream, self._sink = stream, sink

    def write(self, text: str) -> int:
        if "\r" not in text and not self._sink.closed:
            with suppress(OSError):  # a full disk: a log that lacks lines ends no work
                self._sink.write(text)
                self._sink.flush()
        with suppress(OSError, ValueError):  # the terminal or the reader of a pipe has gone
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Write what is printed meanwhile to `path` as well, the log of the run before replaced; nothing for None.

    What cannot be written, to the file or to the streams, is lost: it ends no work.
    """
    sink = None if path is None else _opened(path)
    if sink is None:
        yield
        return
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Tee(stream, sink) for stream in streams)
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            if isinstance(error, UserError):
                sink.write(f"error: {error}\n")
            else:
                traceback.print_exc(file=sink)
        raise
    finally:
        sys.stdout, sys.stderr = streams
        with suppress(OSError):
            sink.close()


def _opened(path: Path) -> TextIO | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        tell(f"no log is kept: {path}: {error.strerror}")
        return None
