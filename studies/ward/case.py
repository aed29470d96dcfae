"""One case of the ward from training to measures."""

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.artifacts import write_json
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.admission import admit
from kinetoken.diagnosis.chain import CHAIN
from kinetoken.diagnosis.history import late_fall
from kinetoken.diagnosis.measures import FEW_CLIPS, halved, measure
from kinetoken.diagnosis.patient import Patient
from kinetoken.diagnosis.probes import ProbeResult, read_all
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.encoding import encoded
from kinetoken.tokenizer.network import Tokenizer, load_tokenizer, save_tokenizer
from kinetoken.tokenizer.training_clips import (
    ClipBatches,
    TokenizerParams,
    WindowParams,
    static_background,
    training_step,
    validation,
)
from kinetoken.training.loop import Batch, fabric_device, fit, with_cpu_precision
from kinetoken.training.muon import muon_and_adamw
from studies.ward import breakages
from studies.ward.plan import HEALTHY, Case, Ward, changed, split_changes

ONE_THREAD = dataclasses.replace(CPU, threads=1, precision="auto")
SEEN_CLIPS = 64  # training clips that the latents' mean, deviations and directions are taken from
ENCODED_AT_ONCE = 16

BREAKAGES = frozenset({
    "project", "drift", "mixed_rows", "mixed_places", "stale", "confused_labels", "random_labels",
    "few_clips", "bypass", "pool", "far_codebook", "scene", "clips_a_pass",
})
ENCODER = frozenset({"drift", "project"})
ON_TWIN = BREAKAGES - {"far_codebook", "few_clips", "clips_a_pass"}  # they need no training


@cache
def clips_and_tracks(folder: Path) -> Dataset:
    """One dataset of the ward, opened once."""
    return Dataset.open(DatasetPaths(
        videos=folder / "videos", trajectories=folder / "trajectories.parquet",
        track_params=folder / "track_params.parquet",
    ))


class DrawnClips(ClipBatches):
    """`count` clips a pass, drawn anew each time: a training curve finer than one point a round of all clips."""

    def __init__(self, pixels: np.ndarray, background: torch.Tensor, windows: WindowParams, count: int) -> None:
        super().__init__(pixels, background, windows)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        return super().gather(torch.randint(len(self._pixels), (len(indices),)).numpy(), done)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A tokenizer and the validation loss after each pass."""

    tokenizer: Tokenizer
    losses: tuple[float, ...]


def silent_context() -> Context:
    return Context(Progress.silent(), ONE_THREAD)


def train(params: TokenizerParams, scene: Dataset, broken: dict[str, Any], pass_clips: int) -> Trained:
    """A tokenizer trained from nothing, under those of the breakages that come before training."""
    pixels = scene.clips.read("train", limit=broken.get("few_clips")).pixels
    torch.manual_seed(params.seed)
    tokenizer = Tokenizer(params.network, params.quantizer, scene.clips.shape[1])
    if "far_codebook" in broken:
        breakages.far_codebook(tokenizer, broken["far_codebook"])
    background = static_background(pixels)
    tokenizer.background.copy_(background)
    seen = scene.clips.read("val", limit=params.validation_clips).pixels
    context = Context(Progress.silent(), with_cpu_precision(ONE_THREAD, params.cpu_precision))
    history = fit(
        tokenizer, training_step(params), DrawnClips(pixels, background, params.windows, pass_clips), params, context,
        validate=validation(seen, background, params.loss), optimizers=muon_and_adamw(params),
    )
    return Trained(tokenizer, tuple(row["val_loss"] for row in history.rows))


def codes_of(tokenizer: Tokenizer, store: ClipStore) -> CodesTable:
    """All clips' codes, as the pipeline's own stage makes them."""
    grid = tokenizer.grid(store.shape[0])
    meta = CodesMeta(grid, tokenizer.codebook_size, tokenizer.quantizer_name, tokenizer.levels, "")
    counts = np.zeros(meta.codebook_size, np.int64)
    parts = list(encoded(store, tokenizer, meta, ENCODED_AT_ONCE, counts, silent_context()))
    track_id, label, split, codes = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("track_id", "label", "split", "codes")
    )
    return CodesTable(track_id, label, split, codes, meta)


def run_case(case: Case, ward: Ward, data: Path, twins: Path | None) -> tuple[dict[str, Any], Trained]:
    """What the doctor measures of a case, as numbers, and its tokenizer."""
    fabric_device(ONE_THREAD)
    settings, broken = split_changes(case.changes, BREAKAGES)
    scene = clips_and_tracks(data / str(broken.get("scene", "clear")))
    trained = _tokenizer(case, ward, clips_and_tracks(data / "clear"), settings, broken, twins)
    table = _broken_table(codes_of(trained.tokenizer, scene.clips), case, scene, broken, twins)
    whole = Dataset(clips=scene.clips, codes=table, tokenizer=trained.tokenizer, tracks=scene.tracks)
    patient = admit(whole, torch.device("cpu"), ward.diagnosis, Progress.silent())
    patient.history = tuple(enumerate(trained.losses, 1))
    patient.late_fall = late_fall(np.array(trained.losses))
    if broken.get("bypass"):
        breakages.bypass(patient)
    if "pool" in broken:
        breakages.pool(patient, broken["pool"])
    measures = measure(patient, _readings(patient, ward, broken, case.pooled))
    row = {"name": case.name, **dataclasses.asdict(case), "twin": case.twin, "losses": trained.losses}
    return {**row, "measures": dataclasses.asdict(measures)}, trained


def _tokenizer(
    case: Case, ward: Ward, scene: Dataset, settings: dict[str, Any], broken: dict[str, Any], twins: Path | None
) -> Trained:
    params = changed(ward.tokenizer, {"seed": case.seed} | settings)
    pass_clips = int(broken.get("clips_a_pass", ward.clips_a_pass))
    usual = split_changes(ward.quantizers[case.quantizer], BREAKAGES)[0].keys()
    if case.fault != HEALTHY and not case.cured and twins is not None and broken and settings.keys() <= usual:
        if broken.keys() <= ON_TWIN:
            return _broken_encoder(load_twin(twins, case.twin), scene, broken, case.seed)
    return train(params, scene, broken, pass_clips)


def _broken_encoder(twin: Trained, scene: Dataset, broken: dict[str, Any], seed: int) -> Trained:
    """The twin, its encoder broken where that is the fault."""
    if broken.keys() & ENCODER:
        seen = torch.from_numpy(scene.clips.read("train").pixels[:SEEN_CLIPS])
        if "drift" in broken:
            breakages.drift(twin.tokenizer, broken["drift"], seen)
        if "project" in broken:
            breakages.project(twin.tokenizer, broken["project"], seen, seed)
    return twin


def save_twin(folder: Path, name: str, trained: Trained) -> None:
    """The tokenizer, and its training curve beside it."""
    save_tokenizer(folder / name, trained.tokenizer)
    write_json(folder / f"{name}.json", trained.losses)


def load_twin(folder: Path, name: str) -> Trained:
    losses = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return Trained(load_tokenizer(folder / name), tuple(losses))


def _broken_table(
    table: CodesTable, case: Case, scene: Dataset, broken: dict[str, Any], twins: Path | None
) -> CodesTable:
    seed = case.seed
    if "mixed_rows" in broken:
        table = breakages.mixed_rows(table, broken["mixed_rows"], seed)
    if "mixed_places" in broken:
        table = breakages.mixed_places(table, broken["mixed_places"], seed)
    if "stale" in broken:
        assert twins is not None
        others = sorted(path for path in twins.glob(f"{case.quantizer}-*") if path.is_dir())
        other = next(folder for folder in others if folder.name != case.twin)
        table = breakages.stale(table, broken["stale"], seed, codes_of(load_tokenizer(other), scene.clips))
    if "confused_labels" in broken:
        table = breakages.confused_labels(table, broken["confused_labels"], seed)
    if "random_labels" in broken:
        table = breakages.random_labels(table, broken["random_labels"], seed)
    if "few_clips" in broken:
        table = breakages.few_clips(table, broken["few_clips"])
    return table


_PIXELS: dict[Any, dict[str, ProbeResult]] = {}  # readings of pixels, the same for all tokenizers on the same clips


def _readings(patient: Patient, ward: Ward, broken: dict[str, Any], pooled: bool) -> dict[str, dict[str, ProbeResult]]:
    """Every probe at every point of the chain; at the pooled codes only where they are what is judged."""
    context, probe = silent_context(), ward.diagnosis.probe
    found: dict[str, dict[str, ProbeResult]] = {}
    clips = (patient.track_id.tobytes(), patient.label.tobytes(), str(broken.get("scene")))
    for point in (*CHAIN, FEW_CLIPS) if pooled else (*(p for p in CHAIN if p != "codes_pooled"), FEW_CLIPS):
        splits = halved(patient.splits("pixels")) if point == FEW_CLIPS else patient.splits(point)
        key = (point, hash(clips))
        if point in ("pixels", FEW_CLIPS):
            if key not in _PIXELS:
                _PIXELS[key] = read_all(splits, probe, context, point)
            found[point] = _PIXELS[key]
        else:
            found[point] = read_all(splits, probe, context, point)
    return found

