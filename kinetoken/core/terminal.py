"""Standard output and error that take any text and never end the work that writes to them.

A terminal whose encoding lacks a letter is given a plain one in its place. What cannot be written, to a stream that is
closed, to a full disk or to a program that has left, is lost; a log file may hold it still.
"""

import codecs
import io
import os
import sys
from contextlib import suppress

PLAIN = "kinetoken.plain"  # name of the way to write what an encoding lacks
PLAIN_LETTERS = str.maketrans({
    "×": "x", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "±": "+-", "≤": "<=", "≥": ">=", "·": "*",
    "’": "'", "‘": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " ", "µ": "u", "²": "^2", "³": "^3",
})


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(c if c.isascii() else "?" for c in lacking.translate(PLAIN_LETTERS)), error.end


codecs.register_error(PLAIN, _plain)


def open_streams() -> None:
    """Give the process standard streams that take any text; to be called first in a program."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # it was closed: the next file opened would have its number
            _to_nowhere(number)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def tell(text: str) -> None:
    """One line on standard error, if it can be written."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def close_streams() -> None:
    """Write out what is left, or drop it: Python makes a failure of it exit code 120."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            _to_nowhere(number)


def takes(text: str) -> bool:
    """Whether standard output can write the text as it is."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _to_nowhere(number: int) -> None:
    """Let a file descriptor lead to the null device."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
