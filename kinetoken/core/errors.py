"""The one exception that speaks to the person at the keyboard, and what to say of a machine's own failures."""

import errno

NO_MEMORY = ("can't allocate memory", "CUDA out of memory")  # in RuntimeErrors of PyTorch
FULL, FORBIDDEN = {errno.ENOSPC, errno.EDQUOT}, {errno.EACCES, errno.EPERM, errno.EROFS}
MISPLACED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


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
    """A sentence for a fault of the machine: a full disk, files that may not be read or written, too little memory; and
    for a file that lies where a folder belongs.

    None for any other exception. Libraries that write files themselves hand on the system's words in exceptions of
    their own.
    """
    text = printable(str(error))
    number, place = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    at = f" ({printable(str(place))})" if place else ""
    if number in FULL or "No space left on device" in text:
        return f"the disk is full{at}; free some space"
    if number in FORBIDDEN or isinstance(error, PermissionError):
        return f"not permitted to read or write{at or f': {text}'}; change its owner or mode"
    if number in MISPLACED:
        return f"a file lies where a folder belongs, or a folder where a file does{at}; move it away"
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return "not enough memory; close other programs, or make the batch smaller"
    return None
