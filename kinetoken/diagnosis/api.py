"""The doctor for a caller's own arrays or files: one function, and what it found as data."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from kinetoken.codes import CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.extras import naming_extras
from kinetoken.core.outputs import require_free, written_whole
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.columns import Array, Given, Source
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.formats import padded
from kinetoken.diagnosis.history import Curves, curves_of
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.probes import MomentsParams
from kinetoken.diagnosis.statement import Remark
from kinetoken.scenes.clips import ClipStore

if TYPE_CHECKING:
    import pandas as pd

# A file's path, an array or what numpy makes one of, or columns by name: a mapping of arrays, a data frame.
Data = Union[str, Path, Array, Sequence[Any], Mapping[str, Any], "pd.DataFrame"]

DEFAULT = Diagnosis(  # section diagnose_codes of params.yaml, for where there is none
    seed=7, train_clips=3000, val_clips=480, test_clips=1200, shown_clips=600, reconstructed_clips=240,
    probe=MomentsParams(
        seed=7, epochs=14, batch_size=64, learning_rate=0.004, warmup_fraction=0.1, weight_decay=0.05,
        gradient_clip=1.0, ema_decay=0.0, patience=0, width=32, heads=6,
    ),
)


@dataclasses.dataclass(frozen=True)
class DiagnosisResult:
    """What the doctor found.

    cause: the named cause, such as `codebook collapse`, or `healthy`.
    severity: the share of what could be read of the labels that is lost, in [0, 1]; None where that is not known.
    degree: the severity in a word: none, mild, serious, total or unknown.
    evidence, cure: a sentence each.
    findings: what stands beside the verdict: further causes with their evidence and cures, and limits.
    measures: what the verdict rests on, by name; a measure that could not be taken is absent.
    numbers: every number, nested, with its baseline (`*_floor`), upper bound (`*_ceiling`) and 95 % interval.
    tables: usage by position and level, information along the chain, embedding and training curve, where known.
    notes: what was assumed, and what could not be measured.

    >>> import kinetoken, numpy as np
    >>> result = kinetoken.diagnose(np.zeros((200, 4, 8, 8), int), config={"codebook_size": 512})
    >>> result.to_json()["verdict"]["cause"]
    'codebook collapse'
    >>> result.write("report")  # report.html, report.md, report.json and tables
    """

    cause: str
    healthy: bool
    severity: float | None
    degree: str
    evidence: str
    cure: str
    findings: tuple[Remark, ...]
    measures: dict[str, float] = dataclasses.field(repr=False)
    numbers: dict[str, Any] = dataclasses.field(repr=False)
    tables: "dict[str, pd.DataFrame]" = dataclasses.field(repr=False)
    notes: tuple[str, ...] = dataclasses.field(repr=False)
    report: Report = dataclasses.field(repr=False)  # what text and pages are written from
    name: str = dataclasses.field(repr=False)  # of the codes

    @classmethod
    def of(cls, report: Report, name: str) -> "DiagnosisResult":
        """The result of a report on codes of this name."""
        verdict = report.verdict
        measures = {key: float(value) for key, value in vars(report.measures).items() if value is not None}
        return cls(
            verdict.cause, verdict.healthy, None if verdict.severity is None else float(verdict.severity),
            verdict.degree, verdict.evidence, verdict.cure, verdict.remarks, measures, report.numbers, report.tables,
            report.notes, report, name,
        )

    def to_json(self) -> dict[str, Any]:
        """Verdict, numbers, measures and notes as plain values, as in report.json."""
        from kinetoken.diagnosis.page import to_json

        return to_json(self.report)

    def to_markdown(self) -> str:
        """The same for people, as in report.md."""
        from kinetoken.diagnosis.page import to_markdown

        return to_markdown(self.report)

    def write(self, folder: str | Path, *, force: bool = False) -> None:
        """report.html, report.md, report.json and the tables as CSV.

        Raises UserError for a folder that holds anything, unless `force` writes over files of these names.
        """
        from kinetoken.diagnosis.page import write_report

        with written_whole(Path(folder), force=force, folder=True) as partial:
            write_report(partial, self.report, self.name)


def diagnose(
    codes: Data | CodesTable, *, labels: Data | None = None, clips: Data | ClipStore | None = None,
    latents: Data | None = None, reconstructions: Data | None = None, codebook: Data | None = None,
    history: Data | None = None, config: str | Path | Mapping[str, Any] | None = None, layout: str | None = None,
    again: Data | None = None, out: str | Path | None = None,
    force: bool = False, params: str | Path | Diagnosis = DEFAULT, threads: int = CPU.threads,
    progress: Progress | None = None,
) -> DiagnosisResult:
    """Find out whether video codes kept what the videos show, where it was lost, and what brings it back.

    Each of the first eight may be a path to a file (formats: docs/doctor.md) or hold the data itself, one clip a row.
    Rows are matched by a column of ids (`track_id`, `clip_id`, …) where both sides have one, else by their order.

    codes: indices (N, T', H', W') or (N, tokens); or columns by name, with `class` or `label`, `split` and ids.
    labels: names or numbers (N,), or columns `label`, `split` and ids. Without labels only usage is judged.
    clips: (N, T, H, W, C) in [0, 1] or [0, 255], a clip store or its folder.
    latents: what was quantized, on the codes' grid, channels first or last.
    reconstructions: like the clips, as decoded from the codes.
    codebook: (K, D), a vector a code.
    history: validation losses, or columns `epoch` and `val_loss`, `usage` or `perplexity`.
    config: grid, codebook_size, levels, quantizer, pooling, foreground_weight; any of them.
    layout: the axes of the codes in order, such as "B,T,H,W,Q", where they would be guessed wrongly.
    again: codes of the same clips, extracted a second time.
    out: a folder for the report; one that holds anything is refused unless `force`.
    params: how many clips are read and how probes are trained; or a parameter file with section diagnose_codes.
    progress: where progress is shown; by default nowhere.

    Raises UserError for data that cannot be used, naming the file or the array, and the row.

    >>> import kinetoken, numpy as np
    >>> codes = np.zeros((200, 4, 8, 8), int)  # every token of every clip is code 0
    >>> found = kinetoken.diagnose(codes, config={"codebook_size": 512})
    >>> found.cause, found.healthy
    ('codebook collapse', False)
    >>> found.numbers["perplexity"]
    1.0
    """
    from kinetoken.diagnosis import doctor

    if out is not None:
        require_free(Path(out), force=force, folder=True)
    if not isinstance(params, Diagnosis):
        params = load_params(params, "diagnose_codes", Diagnosis)
    files = Files(
        codes=_codes(codes), labels=_source(labels, "labels", "label"), latents=_source(latents, "latents"),
        clips=_clips(clips), reconstructions=_source(reconstructions, "reconstructions", "clips"),
        codebook=_source(codebook, "codebook"), history=_history(history), config=_config(codes, config),
        layout=layout, again=_source(again, "again", "codes"),
    )
    hardware = dataclasses.replace(CPU, threads=threads)
    context = Context(progress or Progress.silent(), hardware)
    with naming_extras():
        report = doctor.diagnose(take_in(files, params, context.progress), params, context)
    result = DiagnosisResult.of(report, files.codes.name)
    if out is not None:
        result.write(out, force=force)
    return result


def _codes(codes: Data | CodesTable) -> Source:
    if not isinstance(codes, CodesTable):
        return _required(codes, "codes")
    return Given("codes", {
        "codes": codes.codes, "class": codes.label, "split": codes.split, "track_id": codes.track_id,
    })


def _clips(clips: Data | ClipStore | None) -> Source | None:
    return clips.folder if isinstance(clips, ClipStore) else _source(clips, "clips")


def _source(data: Data | None, what: str, column: str = "") -> Source | None:
    return None if data is None else _required(data, what, column)


def _required(data: Any, what: str, column: str = "") -> Source:  # noqa: ANN401 - Data
    """A path, or arrays by name; a single one is called `column`, or what it is."""
    if isinstance(data, str | Path):
        return Path(data)
    if isinstance(data, Mapping) or hasattr(data, "columns"):  # a mapping, or a data frame
        return Given(what, {
            str(name): _array(data[name], f"array '{what}', column '{name}'", fill=what == "codes") for name in data
        })
    return Given(what, {column or what: _array(data, f"array '{what}'", fill=what == "codes")})


def _array(values: Any, where: str, *, fill: bool) -> Array:  # noqa: ANN401 - whatever numpy makes an array of
    """(N, …) numbers or text; whole numbers of unequal length a row are filled up if `fill`.

    Raises UserError for what has no rows, and for rows of different shape otherwise.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU or with gradients
        ragged = "inhomogeneous" in str(error)
        if ragged and fill:
            return _filled(values, where)
        why = "rows of different shape" if ragged else f"no array for numpy: {str(error).splitlines()[0]}"
        raise UserError(f"{where}: {why}") from None
    if array.ndim == 0:
        raise UserError(f"{where}: expected a row a clip, found {type(values).__name__}")
    if array.dtype == object:
        nested = any(isinstance(value, list | tuple | np.ndarray) for value in array.flat)
        return _nested(array, where, fill=fill) if nested else np.array([_text(value) for value in array], np.str_)
    return array


def _filled(rows: Iterable[Any], where: str) -> Array:
    """(N, longest, …) from rows that differ in length only. Raises UserError for rows that differ otherwise."""
    try:
        return padded([np.asarray(_unnested(row)) for row in rows], where)
    except ValueError:
        raise UserError(f"{where}: rows of different shape") from None


def _nested(array: Array, where: str, *, fill: bool) -> Array:
    """(N, …) from a column whose rows are lists or arrays, as data frames hold them."""
    if fill:
        return _filled(array, where)
    try:
        return np.array([_unnested(row) for row in array])
    except ValueError:
        raise UserError(f"{where}: rows of different shape") from None


def _unnested(row: Any) -> Any:  # noqa: ANN401
    return np.stack(list(row)) if isinstance(row, np.ndarray) and row.dtype == object else row


def _text(value: object) -> str:
    """A label or an id as text, empty where it is missing."""
    return "" if value is None or value != value else str(value)


def _history(history: Data | None) -> Path | Curves | None:
    """A path, or curves. Raises UserError for values that are missing or no numbers."""
    if history is None or isinstance(history, Path):
        return history
    if isinstance(history, str):
        return Path(history)
    import pandas as pd

    given = _required(history, "history", "val_loss")
    assert isinstance(given, Given)
    if len({len(values) for values in given.arrays.values()}) > 1 or any(v.ndim != 1 for v in given.arrays.values()):
        raise UserError(f"{given}: expected one value an epoch in each column")
    return curves_of(pd.DataFrame(dict(given.arrays)), given)


def _config(
    codes: Data | CodesTable, config: str | Path | Mapping[str, Any] | None
) -> Path | Mapping[str, Any] | None:
    """The config, over what a codes table says of itself. Raises UserError for both a table in memory and a file."""
    if isinstance(config, str | Path):
        if isinstance(codes, CodesTable):
            raise UserError("config: give keys and values, not a file, beside a codes table in memory")
        return Path(config)
    own: dict[str, Any] = {}
    if isinstance(codes, CodesTable):
        meta = codes.meta
        own = {
            "grid": meta.grid, "codebook_size": meta.codebook_size, "levels": meta.levels, "quantizer": meta.quantizer,
        }
    merged = {**own, **(config or {})}
    return {key: np.asarray(value).tolist() if _listed(value) else value for key, value in merged.items()} or None


def _listed(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray | np.generic)
