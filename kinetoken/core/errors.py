"""The one exception that speaks to the person at the keyboard."""


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
