"""What a trained detector reads of every track, frame by frame, as a table for other early classifiers.

Reads    a detector of detect_persistence, the clips of the dataset persistence; for magvit the tokenizer too
Writes   a Parquet file, a row a track and frame: track_id, split, label (1 persistent), frame, u and v in px, presence,
         log_odds (held until the next step)

Alone    python -m studies.persistence.features --features run_info/features.parquet
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from kinetoken.core.artifacts import write_table
from kinetoken.persistence.evaluation import predict_clips
from kinetoken.persistence.extractors import MagvitExtractor
from kinetoken.persistence.network import load_detector
from kinetoken.scenes.candidates import PERSISTENT
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import load_tokenizer


def main() -> None:
    import pyarrow as pa

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, default=Path("models/persistence/transformer"))
    parser.add_argument("--tokenizer", type=Path, default=Path("models/tokenizer"))
    parser.add_argument("--videos", type=Path, default=Path("data/persistence/videos"))
    parser.add_argument("--features", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, cpu = ClipStore(options.videos), torch.device("cpu")
    detector = load_detector(options.detector, load_tokenizer(options.tokenizer))
    extractor, stride = detector.network.extractor, detector.network.stride
    read = []
    for rows in np.array_split(np.arange(len(store)), max(len(store) // 400, 1)):
        clips = torch.from_numpy(store.take(rows).pixels)
        kept = extractor.kept(clips) if isinstance(extractor, MagvitExtractor) else clips
        read.append(predict_clips(detector.network, kept, cpu))
    place, presence = (np.concatenate([getattr(each, name) for each in read]) for name in ("place", "presence"))
    odds = np.concatenate([each.logits for each in read]) / np.array(detector.temperatures)
    count, frames = presence.shape
    held = np.concatenate([np.zeros((count, stride - 1)), odds.repeat(stride, 1)], 1)[:, :frames]
    write_table(options.features, pa.table({
        "track_id": pa.array(store.track_id.repeat(frames), pa.int32()), "split": store.split.repeat(frames).tolist(),
        "label": pa.array((store.label == PERSISTENT).astype(np.int8).repeat(frames)),
        "frame": pa.array(np.tile(np.arange(frames), count), pa.int16()),
        "u": place[..., 0].ravel(), "v": place[..., 1].ravel(), "presence": presence.ravel(), "log_odds": held.ravel(),
    }))


if __name__ == "__main__":
    main()
