"""The one exception that speaks to the person at the keyboard, and what to say of a machine's own failures."""

import errno
from concurrent.futures import BrokenExecutor

SHARED = ("shared memory", "/torch_", "Bus error")  # in those of its loader's workers
NO_MEMORY = ("can't allocate memory", "CUDA out of memory")  # in RuntimeErrors of PyTorch
FULL, FORBIDDEN = {errno.ENOSPC, errno.EDQUOT}, {errno.EACCES, errno.EPERM, errno.EROFS}
FAILED = {errno.EIO, errno.ESTALE}


class UserError(Exception):
    """Bad input: what was wrong, where (file, row, key), and what would be right.

    A stage that raises it prints the message alone, leaves no output behind and exits with code 1.

    >>> import kinetoken
    >>> try:
    ...     kinetoken.read_codes("absent.parquet")
    ... except kinetoken.UserError as error:
    ...     print(error)
    absent.parquet: no such file

    What a file or a server put into the message reaches terminals and logs as one line of printable text.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str, keep: str = "") -> str:
    """The text with terminal codes, line ends and invisible characters spelled out, save for those to `keep`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


def of_the_machine(error: Exception) -> str | None:
    """A sentence for a fault of the machine: a full disk, files that may not be read or written, too little memory,
    a worker process that was killed.

    None for any other exception. Libraries that write files themselves hand on the system's words in exceptions of
    their own.
    """
    text = printable(str(error))
    number, place = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    at = f" ({printable(str(place))})" if place else ""
    if isinstance(error, RuntimeError) and any(words in text for words in SHARED):
        return "too little shared memory in /dev/shm; give the container more (--shm-size), or set workers to 0"
    if isinstance(error, BrokenExecutor) or "DataLoader worker" in text:
        return "a worker process was ended, perhaps by the system for lack of memory"
    if number in FULL or "No space left on device" in text:
        return f"the disk is full{at}; free some space"
    if number in FORBIDDEN or isinstance(error, PermissionError):
        return f"not permitted to read or write{at or f': {text}'}; change its owner or mode"
    if isinstance(error, IsADirectoryError):
        return f"a folder where a file is needed{at}; move it away"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"a file where a folder is needed{at}; move it away"
    if number in FAILED:
        return f"the disk failed to read or write{at}"
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return "not enough memory; close other programs, or make the batch smaller"
    return None
