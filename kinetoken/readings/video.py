"""The past read by I3D + MAGVIT, from frames and codes: class, embedding and 3-D points by one network."""

import numpy as np

from kinetoken.codes import CodesTable
from kinetoken.core.errors import UserError
from kinetoken.core.per_track import rows_by_track
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.readings.sources import Sources, past_slices
from kinetoken.readings.table import Readings
from kinetoken.scenes.camera import camera_whitening
from kinetoken.scenes.clips import ClipStore, Pixels
from kinetoken.scores import log_softmax


def read_by_video(codes: CodesTable, store: ClipStore, sources: Sources) -> Readings:
    """What the network reads from frames and codes of the past; it is given no later ones.

    UserError for a network of another tokenizer or another past, and for clips that are not there.
    """
    import torch

    from kinetoken.i3d_magvit.network import load_i3d_magvit
    from kinetoken.i3d_magvit.past import in_metres, load_trust
    from kinetoken.i3d_magvit.training import read

    network, trust = load_i3d_magvit(sources.model), load_trust(sources.model)
    Dataset(codes=codes, paths=DatasetPaths(codes=sources.codes)).require_tokenizer_of(network, sources.model)
    past = past_slices(codes)
    if network.past_slices != past:
        raise UserError(
            f"{sources.model}: reads pasts of {network.past_slices} slices, and motion is described from {past}; "
            "set train_i3d_magvit.forecast.past_slices"
        )
    frames = past_frames(codes, store, network.past_frames, sources)
    seen = read(network, torch.from_numpy(frames), torch.from_numpy(codes.codes[:, :past].astype(np.int64)))
    points = in_metres(seen.path, store.scene)
    whitening = camera_whitening(points, trust.px, trust.depth_fraction, store.scene.camera.focal)
    log_probabilities = log_softmax(seen.logits / trust.temperature)
    return Readings(
        "i3d_magvit", store.scene.world, network.shape.classes, codes.track_id, log_probabilities,
        seen.embedding.astype(np.float64), points, whitening, np.empty((len(codes), 0), np.str_),
    )


def past_frames(codes: CodesTable, store: ClipStore, count: int, sources: Sources) -> Pixels:
    """The first `count` frames (N, count, H, W, 3) of the clips in the codes' order, wherever the store has them."""
    absent = f"{sources.videos}: no track {{}}, which {sources.codes} has; both must come from one run".format
    rows = rows_by_track(codes.track_id, store.track_id, absent)
    order = np.argsort(rows)
    frames = np.empty((len(rows), count, *store.shape[1:], 3), np.uint8)
    frames[order] = store.take(rows[order]).pixels[:, :count]
    return frames
