"""Results that a dataset does not allow: outputs that say so and why, in place of missing ones.

A stage raises `NotMeasured` with the reason. `run_stage` then writes each of its outputs as an explained empty one, so
that the pipeline goes on: a later stage that needs such an output passes the reason on, and the report shows it.
"""

import csv
import json
from pathlib import Path

NOTE = "not_measured.json"  # in the place of what a folder would hold
COLUMN = "not_measured"  # the only column of a table that says why it is empty
UNKNOWN = "these data allow no such result"  # of a metrics file, which holds a number in place of the reason


class NotMeasured(Exception):
    """These data hold nothing that the stage could measure; the message says why, in one sentence."""


def write_absent(path: Path, reason: str, *, metrics: bool = False) -> None:
    """An output that holds the reason, by its ending: a table of one column, a page, a picture, a JSON object; a folder
    with a note; an empty file of JSON lines.

    metrics: its JSON is one that `dvc metrics show` prints. It holds the number 1, as a sentence would make the whole
    table too wide to read; the reason is in the stage's other outputs.
    """
    note = 1 if metrics else reason
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix
    if ending == ".csv":
        with path.open("w", encoding="utf-8", newline="") as sink:
            csv.writer(sink, lineterminator="\n").writerows([[COLUMN], [reason]])
    elif ending == ".json":
        _write_note(path, note)
    elif ending == ".jsonl":
        path.write_text("", encoding="utf-8")
    elif ending == ".md":
        path.write_text(f"Not measured: {reason}.\n", encoding="utf-8")
    elif ending == ".png":
        _draw(path, reason)
    elif ending == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({COLUMN: [reason]}), path)
    elif ending:
        raise ValueError(f"{path}: no form of a {ending} file is known that says why it is empty")
    else:
        path.mkdir()
        _write_note(path / NOTE, note)


def why_absent(path: Path) -> str | None:
    """The reason, if the file or folder is one of `write_absent`; None for any other, and for one that is not there."""
    if path.is_dir():
        return why_absent(path / NOTE) if (path / NOTE).is_file() else None
    if path.suffix == ".csv" and path.is_file():
        with path.open(encoding="utf-8", errors="replace", newline="") as source:
            if source.readline().strip() == COLUMN:
                return next((row[0] for row in csv.reader(source) if row), "")
    if path.suffix == ".parquet" and path.is_file():
        return _in_parquet(path)
    if path.suffix == ".json" and path.is_file():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None
        if not isinstance(held, dict) or COLUMN not in held:
            return None
        return held[COLUMN] if isinstance(held[COLUMN], str) else UNKNOWN
    return None


def _in_parquet(path: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if pq.read_schema(path).names != [COLUMN]:
            return None
        return str(pq.read_table(path)[COLUMN][0].as_py())
    except (pa.ArrowException, OSError, IndexError):
        return None  # whoever reads it as what it should be says what is wrong


def _write_note(path: Path, note: str | int) -> None:
    path.write_text(json.dumps({COLUMN: note}, indent=2) + "\n", encoding="utf-8")


def _draw(path: Path, reason: str) -> None:
    """The reason in a small picture."""
    from PIL import Image, ImageDraw

    text = f"Not measured: {reason}"
    picture = Image.new("RGB", (40 + 7 * len(text), 60), "white")
    ImageDraw.Draw(picture).text((20, 24), text.encode("ascii", "replace").decode(), fill="black")
    picture.save(path)
