"""Two revisions of a repository compared: committed files, and clips where DVC's cache holds the models of both."""

import dataclasses
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetoken.charts.parts import Figure
from kinetoken.comparison import causes, results, views
from kinetoken.comparison.clips import ClipsShown, clips
from kinetoken.comparison.revisions import CodeChange, Revision, changed_code, find_repository, opened, resolve
from kinetoken.core.errors import UserError

KIND, SCHEMA = "kinetoken comparison of two revisions", 1


@dataclass(frozen=True)
class Side:
    """A revision as a reader knows it."""

    name: str
    commit: str
    subject: str


@dataclass(frozen=True)
class RevisionComparison:
    """All that differs. Numbers that are equal are among the rows, with the verdict `equal`."""

    a: Side
    b: Side
    params: list[causes.ParamChange]
    fingerprints: list[str]  # stages whose code differs
    code: list[CodeChange]
    reruns: list[causes.Rerun]
    test_data: list[str]  # that differ
    headlines: list[results.Compared]
    others: list[results.Compared]
    confusions: list[views.ConfusionPair]
    curves: list[Figure]
    pictures: list[views.PicturePair]
    clips: ClipsShown

    @property
    def counts(self) -> Counter[results.Verdict]:
        """How many headlines have each verdict."""
        return Counter(row.verdict for row in self.headlines)

    @property
    def tested(self) -> int:
        """How many numbers differ and have an interval: about one in twenty is beyond it by chance."""
        return sum(row.verdict in ("better", "worse", "changed", "within") for row in (*self.headlines, *self.others))

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the numbers only those that differ, beside how many are equal."""
        return {
            "kind": KIND, "schema": SCHEMA, "a": dataclasses.asdict(self.a), "b": dataclasses.asdict(self.b),
            "params": [dataclasses.asdict(one) for one in self.params],
            "code": {"stages": self.fingerprints, "files": [dataclasses.asdict(one) for one in self.code]},
            "stages": [dataclasses.asdict(one) for one in self.reruns],
            "test_data_that_differ": self.test_data,
            "headlines": _rows(self.headlines), "other_numbers": _rows(self.others),
            "equal": {"headlines": _equal(self.headlines), "other_numbers": _equal(self.others)},
            "confusions": {
                one.title: {side: None if table is None else {"classes": table.classes, "counts": table.counts}
                            for side, table in (("a", one.a), ("b", one.b))}
                for one in self.confusions
            },
            "pictures": [one.title for one in self.pictures],
            "clips": {"shown": [one.title for one in self.clips.cards], "note": self.clips.said},
        }


def compare(repository: Path, a: str, b: str, clips_per_class: int = 2) -> RevisionComparison:
    """What changed from revision `a` to revision `b` of the repository that a folder lies in.

    `.` or `workspace` is the working tree. Nothing is checked out, fetched or written. `clips_per_class` test clips
    are set side by side if DVC's cache holds the models of both; 0 leaves them out.

    Raises UserError for a folder in no repository, an unknown revision, one without results, the same one twice, or
    a damaged file, which it names.
    """
    root = find_repository(repository)
    commits = [resolve(root, name) for name in (a, b)]
    if commits[0] == commits[1]:
        what = f"the same commit, {commits[0][:10]}" if commits[0] else "the working tree"
        raise UserError(f"{a} and {b} are both {what}; name two different revisions")
    with tempfile.TemporaryDirectory(prefix="kinetoken-compare-") as folder:
        sides = []
        for side, name in (("a", a), ("b", b)):
            (Path(folder) / side).mkdir()
            sides.append(opened(root, name, Path(folder) / side))
        return _compared(root, sides[0], sides[1], clips_per_class)


def _compared(root: Path, a: Revision, b: Revision, per_class: int) -> RevisionComparison:
    tables = [results.read_tables(each) for each in (a, b)]
    return RevisionComparison(
        Side(a.name, a.short, a.subject), Side(b.name, b.short, b.subject),
        causes.changed_params(a, b), causes.changed_fingerprints(a, b), changed_code(root, a, b),
        causes.reruns(a, b), causes.differing_test_data(a, b),
        results.headlines(*tables), results.others(*tables),
        views.confusions(a, b), views.curves(a, b), views.pictures(a, b),
        clips(root, a, b, per_class) if per_class else ClipsShown((), ""),
    )


def _rows(rows: list[results.Compared]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name, "title": row.title, "unit": row.unit, "better": row.direction, "verdict": row.verdict,
            "a": None if row.a is None else dataclasses.asdict(row.a),
            "b": None if row.b is None else dataclasses.asdict(row.b),
            "difference": row.difference, "interval": None if row.interval is None else list(row.interval),
        }
        for row in rows if row.verdict != "equal"
    ]


def _equal(rows: list[results.Compared]) -> int:
    return sum(row.verdict == "equal" for row in rows)
