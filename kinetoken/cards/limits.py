"""What a model cannot do, as far as it was measured or is a matter of how it was trained: a sentence each.

A sentence with a number is there only if this run measured it. All are Markdown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinetoken.cards.clips import CardClips
from kinetoken.cards.folders import ModelPart
from kinetoken.charts.markdown import plain
from kinetoken.report.headline import Unit, shown
from kinetoken.report.results import Results

FARTHER = "Outside the ranges of its training clips (split `ood`) the error is larger: "


@dataclass(frozen=True)
class Subject:
    """A trained model with all that a run says about it."""

    parts: tuple[ModelPart, ...]
    clips: CardClips | None
    results: Results
    classes: tuple[str, ...]  # of the model; where it has none, of its clips
    section: Mapping[str, Any]  # of params.yaml, that it was trained with

    def has(self, *names: str) -> bool:
        return all(self.number(name) is not None for name in names)

    def number(self, name: str) -> float | None:
        return self.results.number(*name.split(".", 1))

    def shown(self, name: str, unit: Unit) -> str:
        return shown(self.number(name), unit)


Limits = Callable[[Subject], list[str]]


def of_data(subject: Subject) -> list[str]:
    """What the training clips look like, and what follows."""
    if subject.clips is None:
        return []
    look = {
        "laws": "The training clips are rendered: one ball of one colour in a grey room, seen by one camera.",
        "candidates": "The training clips are rendered: one ball among texture, grain and drifting shapes in a grey "
                      "room, seen by one camera.",
        "tracks": "The training clips are rendered from recorded tracks: one ball in a grey room, seen by one camera.",
        "videos": "The training clips are those of one folder of videos.",
        "actions": "The training clips are rendered: simple shapes that move on a plain ground.",
        "labelled": "The training clips are those of one set of videos.",
    }[subject.clips.origin]
    return [f"{look} No result here is for clips that look different, and on those probabilities are not calibrated."]


def of_intervals(subject: Subject) -> list[str]:
    del subject
    return ["The 95 % intervals come from the bootstrap over scored clips. They do not include the difference between "
            "seeds, or between machines."]


def of_development(subject: Subject) -> list[str]:
    if subject.clips is None or subject.clips.origin not in ("laws", "candidates", "actions"):
        return []
    return ["Some test scores were seen while the default settings were developed "
            "(`docs/notes/0015-how-the-committed-results-came-about.md` lists them)."]


def of_tokenizer(subject: Subject) -> list[str]:
    found = []
    if subject.has("train_tokenizer.foreground_psnr_db", "train_tokenizer.psnr_db"):
        what = "the ball's pixels" if _tracked(subject) else "the pixels that move"
        found.append(
            f"The PSNR of {what} is {subject.shown('train_tokenizer.foreground_psnr_db', 'dB')}, that of all pixels "
            f"{subject.shown('train_tokenizer.psnr_db', 'dB')}: most of a clip is background."
        )
    if subject.clips is not None and subject.clips.origin in ("laws", "tracks"):
        found.append("The shadow on the floor becomes a faint smear, because the loss treats it as background.")
    name = "train_classifier.pooling.cell_mean.accuracy"
    if subject.has(name, "train_classifier.accuracy"):
        found.append(
            "The motion is in the positions of the codes. A classifier on codes that are averaged over space is right "
            f"in {subject.shown(name, 'share')} of test clips, one that keeps positions in "
            f"{subject.shown('train_classifier.accuracy', 'share')}."
        )
    return found


def of_video_classifier(subject: Subject) -> list[str]:
    return _worst_class(subject, "train_baselines.video.per_class.")


def of_classifier(subject: Subject) -> list[str]:
    found = [_OWN_CODES, *_worst_class(subject, "train_classifier.per_class.")]
    if subject.has("train_classifier.prefix.1.accuracy", "train_classifier.accuracy"):
        found.append(
            "It needs the whole clip for its full accuracy: after the first time slice it is right in "
            f"{subject.shown('train_classifier.prefix.1.accuracy', 'share')} of test clips."
        )
    return found


def of_position(subject: Subject) -> list[str]:
    found = [_OWN_CODES]
    if (radius := subject.parts[0].of("camera.ball_radius")) is not None:
        found.append(f"Depth is inferred from the size of the ball in the image, for a radius of {plain(radius)} m. "
                     "For a larger ball the predicted depth is too small.")
    if subject.has("train_position.ood.error_px", "train_position.error_px"):
        found.append(
            f"{FARTHER}{subject.shown('train_position.ood.error_px', 'px')} instead of "
            f"{subject.shown('train_position.error_px', 'px')} in the image, and "
            f"{subject.shown('train_position.ood.error_depth_percent', '%')} instead of "
            f"{subject.shown('train_position.error_depth_percent', '%')} of the depth."
        )
    return found


def of_predictor(subject: Subject) -> list[str]:
    found = [_OWN_CODES]
    for name, title in (("transformer", "transformer"), ("lstm", "LSTM")):
        inside, outside = (f"train_predictor.{name}.{key}centroid_error_px" for key in ("", "ood_"))
        if subject.has(inside, outside):
            found.append(f"{title}: {FARTHER[0].lower()}{FARTHER[1:]}{subject.shown(outside, 'px')} instead of "
                         f"{subject.shown(inside, 'px')}.")
    if subject.section.get("copies") and subject.section.get("copy_scale", [1.0])[-1] > 1:
        found.append("It was also trained on enlarged copies of the training paths. So results outside the training "
                     "ranges assume that the laws stay the same when paths are enlarged.")
    errors = {name: subject.number(f"train_predictor.transformer.per_class.{name}.centroid_error_px")
              for name in subject.classes}
    known = {name: value for name, value in errors.items() if value is not None}
    if len(known) > 1:
        worst, best = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        found.append(f"The error depends on the class. That of the transformer is largest for {plain(worst)} "
                     f"({shown(known[worst], 'px')}) and smallest for {plain(best)} ({shown(known[best], 'px')}).")
    return found


def of_generator(subject: Subject) -> list[str]:
    found = ["Its codes are decoded by the tokenizer that it was trained with, and by no other."]
    if subject.has("train_generator.masked.lawful"):
        found.append(f"Single clips are not exact: {subject.shown('train_generator.masked.lawful', 'share')} of them "
                     "follow their law of motion as closely as 95 % of real clips do.")
    if subject.has("train_generator.masked.memorised"):
        found.append(f"{subject.shown('train_generator.masked.memorised', 'share')} of the generated motions are "
                     "closer to a training clip than 99 % of real test clips are.")
    if subject.has("train_generator.class_gaussian.class_match"):
        found.append(
            "The Gaussian priors in the same folder are there for comparison. One Gaussian per class gives the "
            f"requested class in {subject.shown('train_generator.class_gaussian.class_match', 'share')} of its clips."
        )
    if subject.has("train_generator.masked.forecast.missed_rate"):
        found.append(
            "It does not work as a predictor. Where it completes a clip, the ball is missing in "
            f"{subject.shown('train_generator.masked.forecast.missed_rate', 'share')} of the frames that it predicts."
        )
    return found


def of_i3d_magvit(subject: Subject) -> list[str]:
    found = [_OWN_CODES, *_reduced(subject, ("backbone",), "train_i3d_magvit.backbone")]
    if subject.has("train_i3d_magvit.without_frames.accuracy", "train_i3d_magvit.accuracy"):
        found.append(
            "Without frames, from codes alone, it is right in "
            f"{subject.shown('train_i3d_magvit.without_frames.accuracy', 'share')} of test clips, with frames in "
            f"{subject.shown('train_i3d_magvit.accuracy', 'share')}."
        )
    if subject.has("train_i3d_magvit.frames_alone.place_px"):
        found.append("From frames alone it finds the ball with an error of "
                     f"{subject.shown('train_i3d_magvit.frames_alone.place_px', 'px')}.")
    ours, rule = "train_i3d_magvit.forecast_mae_z", "train_i3d_magvit.floors.constant_velocity.forecast_mae_z"
    if subject.has(ours, rule) and (subject.number(ours) or 0) > (subject.number(rule) or 0):
        found.append(
            "In depth its predicted positions are worse than constant velocity from the true past: mean absolute error "
            f"{subject.shown(ours, '')} m against {subject.shown(rule, '')} m."
        )
    return found


def of_gasm_cast(subject: Subject) -> list[str]:
    found = _reduced(subject, ("backbones.semantic", "backbones.motion"), "train_gasm_cast.semantic")
    if subject.clips is not None and subject.clips.origin == "actions":
        found.append("The actions are simple and come in pairs of which one is the other played backwards. The result "
                     "does not show what fusion is worth on real video. No clip of Something-Something-V2 was used.")
    name = "train_gasm_cast.order_blind.within_pairs"
    if subject.has(name):
        found.append("A control that cannot see the order of frames gets the direction right in "
                     f"{subject.shown(name, 'share')} of the clips of which it recognises the pair; chance is 50 %.")
    return found + _worst_class(subject, "train_gasm_cast.per_class.")


def of_persistence(subject: Subject) -> list[str]:
    found = ["It was trained on clips with clutter around the candidate, of which there is one in each clip."]
    rows = subject.results.metrics.get("detect_persistence", {})
    for part in subject.parts:
        start, end = f"{part.name}.by_lifetime.", ".accuracy"
        known = {key[len(start):-len(end)]: value for key, value in rows.items()
                 if key.startswith(start) and key.endswith(end)}
        if len(known) > 1:
            worst = min(known, key=lambda name: (known[name], name))
            found.append(f"`{part.name}` is right least often for {_lifetime(worst)}: {shown(known[worst], 'share')} "
                         "of them.")
    if any(part.name == "magvit" for part in subject.parts):
        found.append("`magvit` decides on whole time slices of codes, so it cannot decide within a slice. It needs the "
                     "tokenizer that it was trained with.")
    return found


_OWN_CODES = "It reads codes of the tokenizer that it was trained with, and no others."


def _lifetime(name: str) -> str:
    """A key of `by_lifetime` in words."""
    if name == "to_the_end":
        return "candidates that stay to the end"
    first, _, last = name.partition("-")
    return f"candidates that disappear after {first.lstrip('0')} to {last.lstrip('0')} frames"


def _tracked(subject: Subject) -> bool:
    return subject.clips is None or subject.clips.no_tracks is None


def _worst_class(subject: Subject, prefix: str) -> list[str]:
    known = {name: subject.number(prefix + name) for name in subject.classes}
    found = {name: value for name, value in known.items() if value is not None}
    if len(found) < 2 or len(set(found.values())) == 1:
        return []
    worst = min(found, key=lambda name: (found[name], name))
    return [f"The class that it recognises least often is {plain(worst)}: {shown(found[worst], 'share')} of its clips."]


def _reduced(subject: Subject, places: Sequence[str], key: str) -> list[str]:
    """What the backbones are, by the config; whether they are reduced, by the numbers."""
    sources = [subject.parts[0].of(f"{place}.source") for place in places]
    several = len(places) > 1
    found = []
    if sources and all(source == "untrained" for source in sources):
        what = "backbones were" if several else "backbone was"
        found.append(f"No pretrained weights were used: the {what} trained from scratch.")
    if subject.number(f"{key}.reduced"):
        what = "backbones are smaller than the published ones" if several else "backbone is smaller than published"
        found.append(f"The {what}.")
    return found
