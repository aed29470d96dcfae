"""The columns of a file of tracks as numbers, ids and names, each value checked."""

import dataclasses
import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from kinetoken.core.per_track import LARGEST_ID
from kinetoken.physics.laws import Array
from kinetoken.scenes.track_files import TrackFile, is_text, shown

WHOLE = 2**53  # up to here a float tells every whole number from the next
LONGEST_NAME = 100  # characters of a class name
LONGEST_NUMBER = 300  # characters of an id that may be a number
MISSING = ("", "nan", "null", "na", "n/a", "none")  # of a number, in text of any case
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0*)?")


@dataclasses.dataclass(frozen=True)
class TrackIds:
    """row_id (R,) int32: the id of each row's track; source: what each id is in the file, None where it is the same."""

    row_id: NDArray[np.int32]
    source: dict[int, str] | None


def number_column(file: TrackFile, name: str) -> Array:
    """A column of numbers (R,), or of times as seconds from the first. UserError for the first that is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = file.columns[name]
    kind = column.type
    if is_text(kind):
        return _of_text(file, name)
    if name == "t" and (pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind)):
        return _of_times(file, name)
    known = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (known or pa.types.is_null(kind)):
        raise file.refused(name, f"holds {kind} values; give one number a row")
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    _require_finite(file, name, values)
    return np.asarray(values, np.float64)


def whole_column(file: TrackFile, name: str) -> NDArray[np.int64]:
    """A column of whole numbers (R,). UserError for the first that is none, or too large."""
    values = number_column(file, name)
    for wrong, what in ((values != np.floor(values), "must be whole"), (np.abs(values) > WHOLE, "is too large")):
        if wrong.any():
            raise file.fault(int(wrong.argmax()), name, what)
    return values.astype(np.int64)


def id_column(file: TrackFile) -> TrackIds:
    """The tracks' ids, kept if all are whole numbers from 0 to LARGEST_ID, else numbered as they first appear.

    Whole numbers of any size, text, and floats that are whole. UserError for the first that is none of these.
    """
    import pyarrow as pa

    kind = file.columns["track_id"].type
    allowed = (
        is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )
    if not allowed:
        raise file.refused("track_id", f"holds {kind} values; ids are whole numbers or text")
    codes, values = _coded(file, "track_id")
    for code, value in enumerate(values):
        if value is None or value != value or (isinstance(value, str) and value.lower() in ("", "nan", "null")):
            raise file.fault(int((codes == code).argmax()), "track_id", "missing")
    names = _id_names(file, codes, values)
    order = list(dict.fromkeys(names))  # spelled alike at last, as 7 and 7.0: the same track
    numbers = [int(name) for name in order if re.fullmatch(r"0|[1-9]\d{0,9}", name)]
    if len(numbers) == len(order) and max(numbers) <= LARGEST_ID:
        return TrackIds(np.array([int(name) for name in names], np.int32)[codes], None)
    place = {name: i for i, name in enumerate(order)}
    few = ", ".join(shown(name) for name in order[:3]) + (", …" if len(order) > 3 else "")
    file.notices.append(
        f"{len(order)} track ids ({few}) numbered from 0 to {len(order) - 1} as they first appear; the ids of the file "
        "are kept as source_id"
    )
    return TrackIds(np.array([place[name] for name in names], np.int32)[codes], dict(enumerate(order)))


def _id_names(file: TrackFile, codes: np.ndarray, values: list[object]) -> list[str]:
    """Each id as text; where all are numbers, whole ones are spelled as whole numbers."""
    texts = [str(value) for value in values]
    if not all(len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) for text in texts):
        return texts
    if any(re.fullmatch(r"[+-]?0\d.*|\+.*", text) for text in texts):
        return texts  # spelled as no number is: 007
    names = []
    for code, text in enumerate(texts):
        whole = WHOLE_NUMBER.fullmatch(text)
        exact = isinstance(values[code], int) or whole and not isinstance(values[code], float)
        number = float(text)
        if not exact and (not number.is_integer() or abs(number) > WHOLE):
            why = "too large for a float to be exact" if abs(number) > WHOLE else "a fraction"
            raise file.fault(
                int((codes == code).argmax()), "track_id",
                f"{shown(text)} is no track id: {why}; ids are whole numbers or text",
            )
        names.append(str(int(whole.group(1))) if whole else str(int(number)))
    return names


def name_column(file: TrackFile, name: str) -> NDArray[np.object_]:
    """A column of names (R,) as text, trimmed. UserError for one that is missing, too long, or has control characters.
    """
    import pyarrow as pa

    kind = file.columns[name].type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise file.refused(name, f"holds {kind} values; give one name a row")
    codes, values = _coded(file, name)
    names = np.array([value if value is None else str(value).strip() for value in values], object)
    for code, text in enumerate(names):
        if what := _fault_of_name(text):
            raise file.fault(int((codes == code).argmax()), name, what)
    return np.asarray(names[codes])


def _fault_of_name(text: str | None) -> str:
    if not text:
        return "missing; give every row a name, or leave the column out"
    if len(text) > LONGEST_NAME:
        return f"'{shown(text)}' has {len(text)} characters; {LONGEST_NAME} are the most"
    bad = next((each for each in text if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs")), None)
    return "" if bad is None else f"'{shown(text)}' has a control character (U+{ord(bad):04X})"


def _coded(file: TrackFile, name: str) -> tuple[NDArray[np.int64], list[object]]:
    """(R,) the place of each row's value among the values that there are, in order of first appearance."""
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(file.columns[name], null_encoding="encode")
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist()


def _of_text(file: TrackFile, name: str) -> Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = file.columns[name]
    try:
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([_number(file, name, row, text) for row, text in enumerate(column.to_pylist())])
    _require_finite(file, name, values)
    return np.asarray(values, np.float64)


def _number(file: TrackFile, name: str, row: int, text: str | None) -> float:
    if text is None or text.lower() in MISSING:
        return np.nan
    if not (NUMBER.fullmatch(text) or re.fullmatch(r"[+-]?inf(inity)?", text.lower())):
        raise file.fault(row, name, f"'{shown(text)}' is no number")
    return float(text)


def _of_times(file: TrackFile, name: str) -> Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = file.columns[name]
    if column.null_count:
        raise file.fault(int(pc.is_null(column).to_numpy(zero_copy_only=False).argmax()), name, "missing or not finite")
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    ticks = column.cast(pa.int32() if pa.types.is_time32(column.type) else pa.int64()).to_numpy(zero_copy_only=False)
    file.notices.append(f"column '{file.given[name]}' holds times of day or dates, read as seconds from the first")
    return np.asarray((ticks - ticks.min()) / per_second, np.float64)


def _require_finite(file: TrackFile, name: str, values: Array) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        given = file.columns[name][row].as_py()
        found = f" ({shown(given)})" if given not in (None, "") else ""
        raise file.fault(row, name, f"missing or not finite{found}")
