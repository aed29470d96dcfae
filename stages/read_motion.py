"""Write one table of what trained models predict from the first three quarters of each clip that is described.

With `source: classifier`, class and embedding come from the classifier and 3-D points from the position head, both on
the codes of the first three quarters alone. With `source: i3d_magvit`, all come from that network, on the frames and
codes of the same part. Clips are selected in equal numbers from each class; the true class is not written, and true
positions are not an input. Where the clips have no classes, and so no classifier was trained, positions alone are
read, and every law is as probable as the others.

Reads    codes.parquet; models/classifier and models/position, or models/i3d_magvit; videos (for their scene, and with
         i3d_magvit their frames)
Writes   data/readings.parquet: class log-probabilities, embedding, 3-D points with their errors, and the classes of the
         nearest training clips

Alone    python -m stages.read_motion --codes my/codes.parquet --model my/classifier --readings my/readings.parquet
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.codes import read_codes
from kinetoken.core.absence import NotMeasured, why_absent
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.readings.heads import read_by_heads, similar_clips
from kinetoken.readings.params import ReadMotion, Source
from kinetoken.readings.sources import Reader, Sources, even_test_clips
from kinetoken.readings.table import require_finite, write_readings
from kinetoken.readings.video import read_by_video
from kinetoken.scenes.clips import ClipStore

READERS: dict[Source, Reader] = {"classifier": read_by_heads, "i3d_magvit": read_by_video}


@dataclass(frozen=True)
class Paths:
    codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
    model: Annotated[Path, Input("of the kind that source names", optional=True)] = Path("models/classifier")
    position: Annotated[Path, Input("position head; not read with i3d_magvit")] = Path("models/position")
    videos: Annotated[Path, Input("clip store")] = Path("data/motion/videos")
    readings: Annotated[Path, Output("what the models predict, a row a clip")] = Path("data/readings.parquet")

    @property
    def sources(self) -> Sources:
        return Sources(self.codes, self.model, self.position, self.videos)


def run(params: ReadMotion, paths: Paths, context: Context) -> None:
    table, store = read_codes(paths.codes), ClipStore(paths.videos)
    codes = even_test_clips(table, params.clips)
    unread = why_absent(paths.model)
    if unread and params.source != "classifier":
        raise NotMeasured(unread)
    context.progress.phase("reading the past", len(codes), "clips")
    readings = READERS[params.source](codes, store, paths.sources)
    if params.neighbours and not unread:
        training = table.of_split("train")
        similar = similar_clips(readings.embedding, training, paths.sources, params.neighbours)
        readings = dataclasses.replace(readings, neighbours=similar)
    context.progress.advance(len(codes))
    require_finite(readings, f"read by {paths.model}", "train the models that read it again")
    write_readings(paths.readings, readings)


def main() -> int:
    return run_stage(run, ReadMotion, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
