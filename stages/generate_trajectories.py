"""Sample 3-D trajectories from the four laws of motion, or read the user's own. Of a folder of videos there are none.

Candidates for early decisions are left out where their section says `enabled: false`: then all that hangs on them says
that it was not measured.

Reads    params generate_trajectories.<dataset>; the tracks file, unless it is the placeholder synthetic.csv
Writes   trajectories.parquet (one row a frame), track_params.parquet (one row a track: its constants)

Alone    python -m stages.generate_trajectories --section generate_trajectories.motion
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.absence import NotMeasured
from kinetoken.core.errors import UserError
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.scenes.candidates import CandidateTracks, draw_candidates
from kinetoken.scenes.motion import SYNTHETIC, Trajectories, draw_tracks
from kinetoken.scenes.own_tracks import read_own_tracks
from kinetoken.scenes.tracks import write_tracks


@dataclass(frozen=True)
class Paths:
    source: Annotated[Path, Input("tracks file, or synthetic.csv to draw them")] = Path("data/sources/synthetic.csv")
    trajectories: Annotated[Path, Output("positions")] = Path("data/motion/trajectories.parquet")
    track_params: Annotated[Path, Output("constants of each track")] = Path("data/motion/track_params.parquet")


def run(params: Trajectories | CandidateTracks, paths: Paths, context: Context) -> None:
    if isinstance(params, CandidateTracks) and not params.enabled:
        raise NotMeasured("left out by params.yaml: generate_trajectories.persistence.enabled is false")
    if paths.source.is_dir():
        raise NotMeasured(f"{paths.source} is a folder of videos, in which true positions are not known")
    if paths.source.name == SYNTHETIC:
        context.progress.phase("drawing", sum(vars(params.counts).values()), "tracks")
        tracks = draw_candidates(params) if isinstance(params, CandidateTracks) else draw_tracks(params)
    elif isinstance(params, CandidateTracks):
        raise UserError(
            f"{paths.source}: candidates are drawn, as what makes one persist must be known; set source to "
            f"{SYNTHETIC}, or bring your own tracks to a dataset of motion"
        )
    else:
        context.progress.phase(f"reading {paths.source}")
        tracks = read_own_tracks(paths.source, params, context.progress.say)
        outside = int((~params.world.in_view(tracks.points, margin=0.0)).sum())
        if outside:
            context.progress.say(f"{outside} of {len(tracks)} tracks leave the camera's view")
    write_tracks(tracks, paths.trajectories, paths.track_params)
    context.progress.advance(len(tracks))


def main() -> int:
    return run_stage(run, Trajectories | CandidateTracks, Paths)  # type: ignore[arg-type]  # a union is no type[P]


if __name__ == "__main__":
    raise SystemExit(main())
