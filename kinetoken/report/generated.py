"""Generated clips beside real ones of the requested class, each with how well its ball obeys the law of that class.

The law is fitted to the ball that is tracked in decoded clips, generated and real alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinetoken.charts.sprites import Card, Sprite, sprite
from kinetoken.core.errors import UserError
from kinetoken.generation.laws import LAWFUL, fit_to_ball
from kinetoken.physics.laws import are_laws
from kinetoken.scenes.clips import ClipStore, Pixels
from kinetoken.scenes.rendering import Scene
from kinetoken.scenes.tracking import track_ball

REAL = 4  # real clips in a card at most, as many as generated ones by default: a row of each
ANY = "any class"  # asked of a prior that does not heed the class
ABOUT = (
    "Real clips of the class, decoded from their codes, come first. Below each clip is the misfit of the law of that "
    "class: it is fitted to the ball tracked in the clip, and divided by the limit within which {share:.0f} % of "
    "{count} real test clips of the class lie. A clip is lawful up to 1×: it obeys the law as well as real ones do."
)


@dataclass(frozen=True)
class LawLimit:
    """How far a law may be from the ball of a clip: as far as it is from LAWFUL of `count` real clips."""

    law: str
    scene: Scene
    limit: float
    count: int

    @classmethod
    def of_real(cls, law: str, clips: Pixels, scene: Scene) -> "LawLimit":
        """From decoded real clips (N, T, H, W, 3)."""
        return cls(law, scene, float(np.quantile(_misfit(law, clips, scene), LAWFUL)), len(clips))

    def ratios(self, clips: Pixels) -> NDArray[np.float64]:
        """(N,) misfit over the limit; NaN for a clip in which the ball is not seen throughout."""
        return _misfit(self.law, clips, self.scene) / max(self.limit, 1e-12)


def limits_of(real: Mapping[str, Pixels], store: ClipStore) -> dict[str, LawLimit]:
    """class → its limit, from real clips of each class; empty where classes are no laws or the scene is not known."""
    if not are_laws(real):
        return {}
    try:
        scene = store.scene
    except UserError:
        return {}
    return {law: LawLimit.of_real(law, clips, scene) for law, clips in real.items()}


def _misfit(law: str, clips: Pixels, scene: Scene) -> NDArray[np.float64]:
    tracked = track_ball(np.asarray(clips / np.float32(255), np.float32), scene.background())
    fitted = np.asarray(fit_to_ball(law, tracked, scene).misfit, np.float64)
    return np.where((tracked.mass > 0).all(-1), fitted, np.nan)


def generation_cards(
    made: Mapping[str, Mapping[str, Pixels]], real: Mapping[str, Pixels], limits: Mapping[str, LawLimit]
) -> list[Card]:
    """prior → requested class → (N, T, H, W, 3): a card for each, real clips of the class (class → clips) first."""
    return [
        Card(label, prior.replace("_", " "), [
            *_sprites(real.get(label, pixels[:0])[:REAL], "real", limits.get(label)),
            *_sprites(pixels, "generated", limits.get(label)),
        ])
        for prior, by_class in made.items() for label, pixels in by_class.items()
    ]


def about(limits: Mapping[str, LawLimit]) -> str:
    """What stands below the clips; empty where no law is known."""
    if not limits:
        return ""
    return ABOUT.format(share=100 * LAWFUL, count=min(one.count for one in limits.values()))


def _sprites(clips: Pixels, kind: str, limit: LawLimit | None) -> list[Sprite]:
    if not len(clips):
        return []
    ratios = [None] * len(clips) if limit is None else limit.ratios(clips).tolist()
    return [
        sprite(one, f"{kind} {place}{verdict(ratio)}", lossless=False)
        for place, (one, ratio) in enumerate(zip(clips, ratios, strict=True), 1)
    ]


def verdict(ratio: float | None) -> str:
    """What follows the name of a clip."""
    if ratio is None:
        return ""
    if ratio != ratio:
        return ": no ball in some frames"
    return f": {'lawful' if ratio <= 1 else 'not lawful'}, {ratio:.2f}×"
