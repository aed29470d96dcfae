"""The doctor for a caller's own arrays or files: one function, and what it found as data."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
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
from kinetoken.diagnosis.cures import DEFAULT_LIBRARY, require_library
from kinetoken.diagnosis.doctor import Report
from kinetoken.diagnosis.formats import padded
from kinetoken.diagnosis.history import Curves, curves_of
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.probes import MomentsParams
from kinetoken.diagnosis.statement import Said, Statement
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

    statement: the headline with its cure, the answer to what the codes kept, and all else that was found.
    numbers: every number, nested, with its baseline (`*_floor`), upper bound (`*_ceiling`) and 95 % interval.
    tables: how often each entry occurs, usage by position and level, information along the chain, embedding and
    training curve, where known.
    measures: what the verdict rests on, by name; a measure that could not be taken is absent.

    >>> import kinetoken, numpy as np
    >>> result = kinetoken.diagnose(np.zeros((200, 4, 8, 8), int), config={"codebook_size": 512})
    >>> result.to_json()["verdict"]["cause"]
    'codebook collapse'
    >>> result.write("report")  # report.html, report.md, report.json and tables
    """

    report: Report = dataclasses.field(repr=False)
    name: str  # of the codes
    library: str  # whose words the cures use

    @cached_property
    def statement(self) -> Statement:
        return self.report.statement(self.library)

    @property
    def cause(self) -> str:
        """The name of the costliest finding, such as `codebook collapse`; `healthy`; or `cannot tell without …`."""
        return self.statement.cause

    @property
    def healthy(self) -> bool:
        """Was a comparison made with what is upstream of the codes, and did it hold?"""
        return self.statement.healthy

    @property
    def severity(self) -> float | None:
        """What the headline costs, in [0, 1]; None where that is not known."""
        return self.statement.headline.severity

    @property
    def degree(self) -> str:
        """The severity in a word: none, mild, serious, total or unknown."""
        return self.statement.headline.degree

    @property
    def evidence(self) -> str:
        return self.statement.headline.evidence

    @property
    def cure(self) -> str:
        return self.statement.headline.cure

    @property
    def kept(self) -> Said:
        """The answer to *what did the codes keep?*, also where the headline is another finding."""
        return self.statement.kept

    @property
    def findings(self) -> tuple[Said, ...]:
        """All that was found but the headline, costliest first."""
        return self.statement.findings

    @property
    def numbers(self) -> dict[str, Any]:
        return self.report.numbers

    @property
    def tables(self) -> "dict[str, pd.DataFrame]":
        return self.report.tables

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, and what could not be measured."""
        return self.report.notes

    @property
    def measures(self) -> dict[str, float]:
        return {key: float(value) for key, value in vars(self.report.measures).items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Verdict, numbers, measures and notes as plain values, as in report.json."""
        from kinetoken.diagnosis.page import to_json

        return to_json(self.report, self.library)

    def to_markdown(self) -> str:
        """The same for people, as in report.md."""
        from kinetoken.diagnosis.page import to_markdown

        return to_markdown(self.report, self.library)

    def write(self, folder: str | Path, *, force: bool = False) -> None:
        """report.html, report.md, report.json and the tables as CSV.

        Raises UserError for a folder that holds anything, unless `force` writes over files of these names.
        """
        from kinetoken.diagnosis.page import write_report

        with written_whole(Path(folder), force=force, folder=True) as partial:
            write_report(partial, self.report, self.name, self.library)


def diagnose(
    codes: Data | CodesTable, *, labels: Data | None = None, clips: Data | ClipStore | None = None,
    latents: Data | None = None, reconstructions: Data | None = None, codebook: Data | None = None,
    history: Data | None = None, config: str | Path | Mapping[str, Any] | None = None, layout: str | None = None,
    again: Data | None = None, library: str = DEFAULT_LIBRARY, out: str | Path | None = None, force: bool = False,
    params: str | Path | Diagnosis = DEFAULT, threads: int = CPU.threads, progress: Progress | None = None,
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
    library: whose words the cures use: `pytorch`, `vector-quantize-pytorch`, … (`kinetoken.diagnosis.cures.libraries`).
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
    require_library(library)
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
    result = DiagnosisResult(report, files.codes.name, library)
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
