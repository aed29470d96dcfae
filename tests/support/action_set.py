"""A tiny action set, how it is read, and ways to break it."""

import os
from pathlib import Path

from kinetoken.actions.generation import ActionCounts, Actions
from kinetoken.actions.layout import VIDEOS
from kinetoken.actions.sampling import Intake, Views

TINY = Actions(
    seed=3, counts=ActionCounts(train=40, validation=14, test=14), frames=(10, 14), fps=12, image_size=32, processes=1
)
VIEWS = Views(segments=4, short_side=32, crop=28, zoom=0.9, jitter=0.2, clips=2, crops=3)
INTAKE = Intake(broken="stop", max_broken=0.0, workers=0, cache_mib=0)


def break_clips(folder: Path) -> dict[str, str]:
    """Break 5 % of the clips of `TINY` in ways of all kinds: id to the reason that should be named."""
    videos = folder / VIDEOS

    def cut(name: str, share: float) -> None:
        path = videos / f"{name}.webm"
        os.truncate(path, int(path.stat().st_size * share))

    cut("100003", 0.6)
    os.truncate(videos / "100011.webm", 0)
    (videos / "200005.webm").write_text("This is not a video.\n" * 40)
    (videos / "300007.webm").unlink()
    return {"100003": "truncated", "100011": "empty", "200005": "unreadable", "300007": "missing"}
