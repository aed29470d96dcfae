"""A patient from the pipeline's own files: clips, codes, the tokenizer that made them, and the true tracks."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.codes import CodesTable
from kinetoken.core.per_track import rows_by_track
from kinetoken.core.progress import Progress
from kinetoken.dataset import Dataset
from kinetoken.diagnosis import usage
from kinetoken.diagnosis.chain import CHUNK, Diagnosis, Pixels, Tokens, decoded_points, painted, walk
from kinetoken.diagnosis.measures import row_hashes
from kinetoken.diagnosis.patient import Motion, Patient
from kinetoken.diagnosis.tally import Tally
from kinetoken.footage.motion import moving_pixels, still_pictures
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import MASK_COVERAGE, ball_coverage
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer


def admit(dataset: Dataset, device: torch.device, params: Diagnosis, progress: Progress) -> Patient:
    """A sample of clips at every point of the chain, and the counts over all test clips.

    Clips and tracks are looked up by the codes' track ids; the tokenizer is on the device already. Of a user's videos
    no tracks are known: what moves in them is the foreground.
    Raises UserError for codes whose clips or tracks are not there, or whose grid is not the tokenizer's.
    """
    chain = walk(dataset, device, params, progress)
    table, sampled = dataset.codes, chain.table
    tests = table.of_split("test")
    place = _tracks_of(sampled, dataset) if dataset.tracked else None
    progress.phase("reconstructing", len(chain.shown), "clips")
    pixel_mask = _moving(chain.pixels) if place is None else (
        ball_coverage(dataset.scene, dataset.tracks.points[place[chain.shown]]) > MASK_COVERAGE
    )  # (n, T, H, W)
    drawn = painted(dataset.tokenizer, sampled.codes[chain.shown], chain.pixels, pixel_mask, chain.mean_video, device)
    progress.phase("counting codes")
    mask = _moving_tokens(dataset.clips, tests) if place is None else usage.foreground_tokens(
        dataset.scene, dataset.tracks.points[_tracks_of(tests, dataset)], table.meta.grid
    )
    tally = Tally(table.meta.grid, table.meta.codebook_size, len(sampled.classes), params.seed)
    tally.add(tests.codes, np.searchsorted(sampled.classes, tests.label))
    tally.add_foreground(tests.codes, mask)
    read = rows_by_track(sampled.track_id[sampled.split == "test"], tests.track_id)
    motion = None if place is None else Motion(
        dataset.tracks.points[place], dataset.tracks.world.fps, dataset.tracks.drawn.iloc[place]
    )
    patient = Patient(
        sampled.meta, sampled.track_id.astype(np.int64), sampled.label, sampled.split, sampled.codes, chain.tokens,
        tally, mask[read], chain.recoded, drawn, motion, all_rows=row_hashes(table.codes),
    )
    if len(sampled.classes) < 2:
        patient.unlabelled, patient.unreadable = True, f"all clips have one class ('{sampled.classes[0]}')"
    patient.decoded = lambda: decoded_points(
        dataset.tokenizer, sampled.codes, dataset.background, device, progress
    )
    patient.decodes_these = True
    if dataset.tokenizer.quantizer.params.activation != "tanh":
        patient.bound = functools.partial(_before_rounding, dataset.tokenizer)
    patient.vectors = Codebook.of(dataset.tokenizer).vectors.numpy()
    patient.clips_a_class = int(np.unique(table.label[table.split == "train"], return_counts=True)[1].min())
    return patient


def _tracks_of(table: CodesTable, dataset: Dataset) -> NDArray[np.int64]:
    """Rows of the tracks of these clips."""
    absent = "trajectories: no track {}, which the codes table holds".format
    return rows_by_track(table.track_id, dataset.tracks.track_id, absent)


def _moving(pixels: Pixels) -> NDArray[np.bool_]:
    return moving_pixels(pixels, still_pictures(pixels))


def _moving_tokens(store: ClipStore, table: CodesTable) -> NDArray[np.bool_]:
    """(N, T', H', W'): tokens of these clips in whose cells something moves."""
    mask = np.zeros((len(table), *table.meta.grid), bool)
    for clips in store.stream():
        known = np.flatnonzero(np.isin(clips.track_id, table.track_id))
        for start in range(0, len(known), CHUNK):
            part = known[start : start + CHUNK]
            moves = usage.tokens_that_meet(_moving(clips.pixels[part]), table.meta.grid)
            mask[rows_by_track(clips.track_id[part], table.track_id)] = moves
    return mask


@torch.no_grad()
def _before_rounding(tokenizer: Tokenizer, latents: Tokens) -> Tokens:
    """Latents (M, D) as the tokenizer rounds them."""
    tokens = torch.from_numpy(latents).to(tokenizer.background.device)[:, :, None, None, None]
    return np.asarray(tokenizer.quantizer.unquantized(tokens)[:, :, 0, 0, 0].float().cpu().numpy())
