"""A patient from the pipeline's own files: clips, codes, the tokenizer that made them, and the true tracks."""

import functools

import numpy as np
import torch

from kinetoken.core.per_track import rows_by_track
from kinetoken.core.progress import Progress
from kinetoken.dataset import Dataset
from kinetoken.diagnosis import usage
from kinetoken.diagnosis.chain import Diagnosis, Tokens, decoded_points, painted, walk
from kinetoken.diagnosis.measures import row_hashes
from kinetoken.diagnosis.patient import Motion, Patient
from kinetoken.diagnosis.tally import Tally
from kinetoken.scenes.rendering import MASK_COVERAGE, ball_coverage
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import Tokenizer


def admit(dataset: Dataset, device: torch.device, params: Diagnosis, progress: Progress) -> Patient:
    """A sample of clips at every point of the chain, and the counts over all test clips.

    Clips and tracks are looked up by the codes' track ids; the tokenizer is on the device already.
    Raises UserError for codes whose clips or tracks are not there, or whose grid is not the tokenizer's.
    """
    chain = walk(dataset, device, params, progress)
    table, tracks, scene = dataset.codes, dataset.tracks, dataset.scene
    sampled = chain.table
    absent = "trajectories: no track {}, which the codes table holds".format
    place = rows_by_track(sampled.track_id, tracks.track_id, absent)
    points = tracks.points[place]
    progress.phase("reconstructing", len(chain.shown), "clips")
    pixel_mask = ball_coverage(scene, points[chain.shown]) > MASK_COVERAGE  # (n, T, H, W)
    drawn = painted(dataset.tokenizer, sampled.codes[chain.shown], chain.pixels, pixel_mask, chain.mean_video, device)
    progress.phase("counting codes")
    tests = table.of_split("test")
    tested = tracks.points[rows_by_track(tests.track_id, tracks.track_id, absent)]
    mask = usage.foreground_tokens(scene, tested, table.meta.grid)
    tally = Tally(table.meta.grid, table.meta.codebook_size, len(sampled.classes), params.seed)
    tally.add(tests.codes, np.searchsorted(sampled.classes, tests.label))
    tally.add_foreground(tests.codes, mask)
    read = rows_by_track(sampled.track_id[sampled.split == "test"], tests.track_id)
    patient = Patient(
        sampled.meta, sampled.track_id.astype(np.int64), sampled.label, sampled.split, sampled.codes, chain.tokens,
        tally, mask[read], chain.recoded, drawn, Motion(points, tracks.world.fps, tracks.drawn.iloc[place]),
        all_rows=row_hashes(table.codes),
    )
    if len(sampled.classes) < 2:
        patient.unlabelled, patient.unreadable = True, f"all clips have one class ('{sampled.classes[0]}')"
    patient.decoded = lambda: decoded_points(
        dataset.tokenizer, sampled.codes, scene.background(), device, progress
    )
    patient.decodes_these = True
    if dataset.tokenizer.quantizer.params.activation != "tanh":
        patient.bound = functools.partial(_before_rounding, dataset.tokenizer)
    patient.vectors = Codebook.of(dataset.tokenizer).vectors.numpy()
    patient.clips_a_class = int(np.unique(table.label[table.split == "train"], return_counts=True)[1].min())
    return patient


@torch.no_grad()
def _before_rounding(tokenizer: Tokenizer, latents: Tokens) -> Tokens:
    """Latents (M, D) as the tokenizer rounds them."""
    tokens = torch.from_numpy(latents).to(tokenizer.background.device)[:, :, None, None, None]
    return np.asarray(tokenizer.quantizer.unquantized(tokens)[:, :, 0, 0, 0].float().cpu().numpy())
