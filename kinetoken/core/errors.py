"""The one exception that speaks to the person at the keyboard, and what to say of a machine's own failures."""

import errno

NO_MEMORY = ("can't allocate memory", "CUDA out of memory")  # in RuntimeErrors of PyTorch
FULL, FORBIDDEN = {errno.ENOSPC, errno.EDQUOT}, {errno.EACCES, errno.EPERM, errno.EROFS}


class UserError(Exception):
    """Bad input: what was wrong, where (file, row, key), and what would be right.

    A stage that raises it prints the message alone, leaves no output behind and exits with code 1.

    >>> import kinetoken
    >>> try:
    ...     kinetoken.read_codes("absent.parquet")
    ... except kinetoken.UserError as error:
    ...     print(error)
    absent.parquet: no such file
    """


def of_the_machine(error: Exception) -> str | None:
    """A sentence for a fault of the machine: a full disk, files that may not be read or written, too little memory.

    None for any other exception. Libraries that write files themselves hand on the system's words in exceptions of
    their own.
    """
    number, place = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    at = f" ({place})" if place else ""
    if number in FULL or "No space left on device" in str(error):
        return f"the disk is full{at}; free some space"
    if number in FORBIDDEN or isinstance(error, PermissionError):
        return f"not permitted to read or write{at or f': {error}'}; change its owner or mode"
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return "not enough memory; close other programs, or make the batch smaller"
    return None
