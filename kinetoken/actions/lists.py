"""Plain lists of clips: one `path label` a line, parted by a comma or by white space, the label a number or a name."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kinetoken.core.errors import UserError

Entry = tuple[str, Path, int]  # the path as written, where it is, the label (-1: not told)
ALSO = {"validation": ("val",)}
ENDINGS = (".csv", ".txt")


def find_lists(folder: Path, splits: Sequence[str]) -> dict[str, Path]:
    """The list files in the folder, split to path; empty if there are none."""
    found = {}
    for split in splits:
        names = [name + ending for name in (split, *ALSO.get(split, ())) for ending in ENDINGS]
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is not None:
            found[split] = path
    return found


def read_lists(lists: Mapping[str, Path]) -> tuple[tuple[str, ...], dict[str, list[Entry]]]:
    """Names of the classes by index, and each split's entries; relative paths start at the list's own folder.

    Labels that are all whole numbers are taken as indices and named "class 0", "class 1", …; else they are names,
    indexed in sorted order. UserError naming file and line.
    """
    rows = {split: _read_list(path) for split, path in lists.items()}
    told = {label for entries in rows.values() for _, label in entries if label is not None}
    if all(label.isdecimal() for label in told):
        index = {label: int(label) for label in told}
        classes = tuple(f"class {i}" for i in range(1 + max(index.values(), default=-1)))
    else:
        classes = tuple(sorted(told))
        index = {name: place for place, name in enumerate(classes)}
    return classes, {
        split: [(name, lists[split].parent / name, -1 if label is None else index[label]) for name, label in entries]
        for split, entries in rows.items()
    }


def _read_list(path: Path) -> list[tuple[str, str | None]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    entries: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in (line.rsplit(",", 1) if "," in line else line.strip().rsplit(None, 1))]
        if number == 1 and parts[-1].lower() in ("label", "path"):
            continue  # a header
        if not parts[0] or (len(parts) == 2 and not parts[1]):
            raise UserError(f"{path}: line {number}: expected `path label`, found {line[:60]!r}")
        entries.append((parts[0], parts[1] if len(parts) == 2 else None))
    if not entries:
        raise UserError(f"{path}: no clip in it")
    return entries
