"""A file of tracks as people have it, as a table of named columns: separators, encodings, names, kinds of columns."""

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinetoken.core.artifacts import read_table
from kinetoken.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

TRACK_COLUMNS = ("track_id", "frame", "x", "y", "z")
NUMBERS = ("frame", "x", "y", "z", "t")
TEXT_SUFFIXES = (".csv", ".tsv")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
SYNONYMS = {
    "track_id": ("id", "track", "trajectory", "particle", "trackid", "trajectory_id", "particle_id"),
    "frame": ("frame_id", "frame_number", "frame_index"),
    "x": (), "y": (), "z": (),
    "class": ("label", "class_name"), "split": (), "t": ("time", "timestamp"),
}
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
LINE_END = re.compile(r"\r\n|\n|\r")
SEP_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # that spreadsheets write above the header
DECIMAL_COMMA = r"^[+-]?\d*,\d*([eE][+-]?\d+)?$"
THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+$"  # what may be one thousand and some as well
LONGEST_SHOWN = 40


@dataclasses.dataclass
class TrackFile:
    """The columns of a file that are known, each (R,), by the name that they have here; `given`: their own names."""

    path: Path
    columns: dict[str, "pa.Array"]
    given: dict[str, str]
    notices: list[str]

    def __len__(self) -> int:
        return len(self.columns["track_id"])

    def place(self, row: int) -> str:
        """A row, from 0, in words: its track, its frame and its number from 1, the header not counted."""
        track, frame = (shown(self.columns[name][row].as_py()) for name in ("track_id", "frame"))
        return f"track {track}, frame {frame} (row {row + 1})"

    def fault(self, row: int, column: str, what: str) -> UserError:
        """What is wrong with a value."""
        return UserError(f"{self.path}: {self.place(row)}, column '{self.given[column]}': {what}")

    def refused(self, column: str, what: str) -> UserError:
        """What is wrong with a column."""
        return UserError(f"{self.path}: column '{self.given[column]}': {what}")


def shown(value: object) -> str:
    """A value as it stands in a message."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def read_track_file(path: Path) -> TrackFile:
    """The columns of a `.csv`, `.tsv` or `.parquet` file that tracks have; text is trimmed, decimal commas are points.

    Separators are commas, semicolons or tabs. UserError for what is no such file, has no rows, rows of other lengths
    than the header, a column missing, or two columns that could be the same.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: is a {'folder' if path.is_dir() else 'pipe or a device'}, not a file of tracks")
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise UserError(f"{path}: tracks come as {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]}")
    file = _of_parquet(path) if suffix == ".parquet" else _of_text(path)
    if len(file) == 0:
        raise UserError(f"{path}: no rows")
    _read_decimal_commas(file)
    return file


def match_columns(path: Path, names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Where each column stands that tracks have, and notices. UserError if one is missing or there are several.

    A name is taken exactly before a spelling of other case, and that before a synonym.
    """
    found, notices = dict[str, int](), list[str]()
    for column, synonyms in SYNONYMS.items():
        cased = [i for i, name in enumerate(names) if _plain(name) == column]
        places = cased or [i for i, name in enumerate(names) if _plain(name) in synonyms]
        if len(places) > 1:
            several = " and ".join(f"'{names[i]}'" for i in places)
            raise UserError(f"{path}: columns {several} could each be {column}; rename or remove all but one")
        if places:
            found[column] = places[0]
        elif column in TRACK_COLUMNS:
            raise UserError(f"{path}: column '{column}' is missing; needed are {', '.join(TRACK_COLUMNS)}")
    renamed = [f"'{names[i]}' as {column}" for column, i in found.items() if names[i] != column]
    ignored = [
        f"'{name}'" if name else "one without a name" for i, name in enumerate(names)
        if i not in found.values() and not name.startswith("__index_level_")
    ]
    notices += [f"columns read by other names: {', '.join(renamed)}"] if renamed else []
    notices += [f"columns ignored: {', '.join(ignored)}"] if ignored else []
    return found, notices


def has_track_columns(names: Iterable[str]) -> bool:
    """Whether a table's columns are, by one name or another, those of tracks, save for the frame."""
    plain = {_plain(name) for name in names}
    return all(plain & {column, *SYNONYMS[column]} for column in TRACK_COLUMNS if column != "frame")


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _of_parquet(path: Path) -> TrackFile:
    import pyarrow as pa

    table = read_table(path)
    places, notices = match_columns(path, table.column_names)
    columns = {}
    for name, place in places.items():
        column = table.column(place).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        columns[name] = _trimmed(column) if is_text(column.type) else column
    return TrackFile(path, columns, {name: table.column_names[place] for name, place in places.items()}, notices)


def is_text(kind: "pa.DataType") -> bool:
    """Whether a column holds text, in one of the ways of holding it."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _trimmed(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _of_text(path: Path) -> TrackFile:
    text = _decoded(path)
    header, rest = _first_line(text)
    named = SEP_LINE.fullmatch(header)
    if named:
        header, rest = _first_line(rest)
    if not header:
        raise UserError(f"{path}: no rows, and no header")
    separator = named.group(1) if named else _separator(path, header)
    names = _split(header, separator)
    if all(re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", name) for name in names):
        raise UserError(
            f"{path}: the first line holds numbers, not names; begin with a header such as "
            f"{separator.join(TRACK_COLUMNS)}"
        )
    places, notices = match_columns(path, names)
    if separator != ",":
        notices.insert(0, f"fields read as separated by {SEPARATORS.get(separator, repr(separator))}s")
    table = _parsed(path, rest, separator, len(names))
    columns = {name: _trimmed(table.column(place).combine_chunks()) for name, place in places.items()}
    return TrackFile(path, columns, {name: names[place] for name, place in places.items()}, notices)


def _decoded(path: Path) -> str:
    """The file's text. UserError for what is no UTF-8."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path}: is UTF-16 text; save it as UTF-8")
    if b"\0" in content:
        raise UserError(f"{path}: holds zero bytes: no text, or UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x}"
        raise UserError(f"{path}: line {line} is no UTF-8 text ({byte}); save the file as UTF-8") from None


def _first_line(text: str) -> tuple[str, str]:
    """The first line that is not blank, and all that follows it."""
    text = text.lstrip("\r\n")
    parts = LINE_END.split(text, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _split(line: str, separator: str) -> list[str]:
    return [name.strip() for name in next(csv.reader(io.StringIO(line), delimiter=separator), [])]


def _separator(path: Path, header: str) -> str:
    """The separator by which the header has most of the columns of tracks. UserError if none divides it."""
    def known(separator: str) -> tuple[int, int]:
        names = _split(header, separator)
        plain = {_plain(name) for name in names}
        return sum(bool(plain & {column, *others}) for column, others in SYNONYMS.items()), len(names)

    best = max(SEPARATORS, key=known)
    if known(best)[1] < 2:
        raise UserError(
            f"{path}: no {', '.join(SEPARATORS.values())} in the header '{shown(header)}'; separate the columns "
            "by one of them"
        )
    return best


def _parsed(path: Path, text: str, separator: str, width: int) -> "pa.Table":
    """The rows below the header, all as text. UserError for the first row of another length."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    wrong = list[Any]()

    def keep(row: Any) -> str:  # noqa: ANN401 - pyarrow's InvalidRow, which its stubs leave out
        wrong.append(row)
        return "skip"

    names = [str(i) for i in range(width)]
    if not text.strip("\r\n"):
        return pa.table({name: pa.array([], pa.string()) for name in names})
    content = text.encode()
    whole = min(len(content) + 1, 2**31 - 1)  # bytes; in one block, a quote without end ends in a value, not an error
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content), pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=whole),
            pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=keep),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a table of text: {str(error).splitlines()[0]}") from None
    if wrong:
        first = wrong[0]
        hint = ""
        if separator == "," and first.actual_columns > width and "." not in first.text:
            hint = "; if it has decimal commas, separate the columns by semicolons"
        raise UserError(
            f"{path}: row {first.number} has {first.actual_columns} fields, the header has {width}: "
            f"'{shown(first.text)}'{hint}"
        )
    return table


def _read_decimal_commas(file: TrackFile) -> None:
    """Decimal commas of text become points, with a notice. UserError where a comma could be something else."""
    import pyarrow.compute as pc

    texts = {name: file.columns[name] for name in NUMBERS if name in file.columns and is_text(file.columns[name].type)}
    commas = {name: column.filter(pc.match_substring(column, ",")) for name, column in texts.items()}
    seen = [(name, column[0].as_py()) for name, column in commas.items() if len(column)]
    if not seen:
        return
    name, comma = seen[0]
    points = [
        (name, found[0].as_py()) for name, column in texts.items()
        if len(found := column.filter(pc.match_substring(column, ".")))
    ]
    if points:
        raise UserError(
            f"{file.path}: numbers with commas ('{shown(comma)}' in column '{file.given[name]}') and with points "
            f"('{shown(points[0][1])}' in column '{file.given[points[0][0]]}'); write all with one decimal mark and no "
            "mark of thousands"
        )
    if all(pc.all(pc.match_substring_regex(column, THOUSANDS)).as_py() for column in commas.values() if len(column)):
        raise UserError(
            f"{file.path}: column '{file.given[name]}': '{shown(comma)}' could have a decimal comma or a comma of "
            "thousands, and so could every number here that has a comma; write decimal points"
        )
    for each in texts:
        column = texts[each]
        decimal = pc.match_substring_regex(column, DECIMAL_COMMA)
        file.columns[each] = pc.if_else(decimal, pc.replace_substring(column, ",", "."), column)
    file.notices.append(f"decimal commas read ('{shown(comma)}' in column '{file.given[name]}')")
