"""The drawn actions: mirrored pairs, told apart by order and by nothing else."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kinetoken.actions.classes import ACTIONS, PAIRS, Action, draw_action
from kinetoken.actions.courses import Course
from kinetoken.actions.drawing import COLOURS, Light, Thing, draw, draw_ground
from kinetoken.actions.sampling import even_places, random_places
from kinetoken.actions.shapes import SHAPES
from kinetoken.actions.templates import fill, slots

EACH = 150  # clips of an action in the statistics
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].name.replace(" ", "-"))
Pair = tuple[Action, Action]


def _course(action: Action, seed: int, frames: int = 20) -> tuple[Course, ...]:
    return action.course(np.random.default_rng(seed), frames)


def _clips(action: Action, first_seed: int, size: int = 24, frames: int = 12) -> np.ndarray:
    """(EACH, T, size, size, 3) in [0, 1]."""
    seeds = range(first_seed, first_seed + EACH)
    clips = [draw_action(action, np.random.default_rng(s), (frames, frames), size)[0] for s in seeds]
    return np.stack(clips) / 255


def test_there_are_seven_pairs_with_names_of_their_own() -> None:
    assert len(PAIRS) == 7
    assert len({action.name for action in ACTIONS}) == 14
    assert [action.name for action in ACTIONS] == sorted(action.name for action in ACTIONS)


@each_pair
def test_the_partner_is_the_same_clip_played_backwards_bit_for_bit(pair: Pair) -> None:
    for seed in range(5):
        drawn = [draw_action(action, np.random.default_rng(seed), (9, 17), 64) for action in pair]
        np.testing.assert_array_equal(drawn[0][0], drawn[1][0][::-1])
        assert drawn[0][1] == drawn[1][1]
        assert not np.array_equal(drawn[0][0], drawn[1][0])


@each_pair
def test_things_stay_in_the_picture(pair: Pair) -> None:
    for seed in range(200):
        for course in _course(pair[0], seed):
            assert (course.x > 0.03).all() and (course.x < 0.97).all()
            assert (course.y > 0.03).all() and (course.y < 0.97).all()
            assert (course.radius > 0.04).all()


def test_courses_do_what_their_names_say() -> None:
    """Each pair's own measure has one sign for all clips and is clear of the other pairs' motions."""
    left, camera, fall, turn, speed, behind, close = (pair[0] for pair in PAIRS)
    for seed in range(200):
        (one,) = _course(left, seed)
        assert one.x[-1] - one.x[0] > 0.45 and abs(one.y[-1] - one.y[0]) < 0.1
        (one,) = _course(camera, seed)
        assert one.radius[-1] > 3 * one.radius[0]
        (one,) = _course(fall, seed)
        assert one.y[-1] - one.y[0] > 0.55 and abs(one.x[-1] - one.x[0]) < 0.1
        (one,) = _course(turn, seed)
        x, y = one.x - 0.5, one.y - 0.5
        area = (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2
        assert area > 0.08  # y runs down: positive is clockwise on the screen
        (one,) = _course(speed, seed)
        step = np.hypot(np.diff(one.x), np.diff(one.y))
        assert step[-5:].sum() > 4 * step[:5].sum()
        assert abs(one.x[-1] - one.x[0]) > 0.35 and abs(one.y[-1] - one.y[0]) > 0.35
        mover, cover = _course(behind, seed)
        apart = np.hypot(mover.x - cover.x, mover.y - cover.y)
        assert apart[0] < 1e-9 and apart[-1] > (mover.radius + cover.radius)[-1]
        one, other = _course(close, seed)
        apart = np.hypot(one.x - other.x, one.y - other.y)
        assert apart[0] > 0.55 and apart[-1] < 0.3 and (np.diff(apart) <= 1e-12).all()


def test_what_hides_covers_the_other_whole() -> None:
    """In the first frame only the colours of the cover are to be seen."""
    behind = PAIRS[5][0]
    light, ground = Light(0.0, 1.0), np.full((64, 64, 3), 0.3, np.float32)
    for seed in range(20):
        ways = _course(behind, seed)
        for shape in SHAPES:
            both = draw(ground, light, (Thing(shape, "red", 0.3), Thing("ball", "blue", 0.0)), ways)
            assert not ((both[0, ..., 0] > 150) & (both[0, ..., 2] < 100)).any()
            assert ((both[-1, ..., 0] > 150) & (both[-1, ..., 2] < 100)).sum() > 20


@each_pair
@pytest.mark.parametrize("training", [True, False])
def test_frames_without_their_order_do_not_tell_a_pair_apart(pair: Pair, training: bool) -> None:
    """A classifier of the frames that the loader takes, sorted so that their order is lost, stays at chance."""
    seen, label = [], np.repeat([0, 1], EACH)
    for seed, backward in enumerate(label):
        rng = np.random.default_rng([seed, 1])
        clip = draw_action(pair[backward], np.random.default_rng(seed), (8, 16), 24)[0]
        places = random_places(len(clip), 6, rng) if training else even_places(len(clip), 6, 1)[0]
        frames = clip[places].astype(float).mean(-1).reshape(6, -1) / 255
        side = np.linspace(-1, 1, 24)
        mass = np.abs(frames - np.median(frames, 0)).reshape(6, 24, 24)
        total = mass.sum((1, 2))[:, None] + 1e-6
        centre = np.stack([(mass.sum(1) * side).sum(1), (mass.sum(2) * side).sum(1)], 1)
        facts = np.concatenate([centre / total, total], 1)  # (6, 3): where the movement is, and how much
        seen.append(np.concatenate([frames.mean(0), frames.std(0), np.sort(facts, 0).ravel(), facts.mean(0)]))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    accuracy = cross_val_score(model, np.stack(seen), label, cv=5).mean()
    assert abs(accuracy - 0.5) < 4 * 0.5 / np.sqrt(2 * EACH)  # four standard errors


def test_order_is_to_be_seen() -> None:
    """The same classifier with time in its features reads a pair."""
    clips = np.concatenate([_clips(PAIRS[1][0], 0), _clips(PAIRS[1][1], 10_000)]).mean(-1)
    moves = np.abs(clips - np.median(clips, 1, keepdims=True)).mean((2, 3))
    accuracy = cross_val_score(LogisticRegression(C=100), moves, np.repeat([0, 1], EACH), cv=5).mean()
    assert accuracy > 0.9


def test_labels_name_what_is_drawn() -> None:
    for action in ACTIONS:
        for seed in range(10):
            _, names = draw_action(action, np.random.default_rng(seed), (4, 4), 16)
            assert len(names) == slots(action.template) == len(set(names))
            text = fill(action.template, names)
            assert "[" not in text and all(name in text for name in names) and text == text.lower()
            for name in names:
                article, colour, shape = name.split()
                assert colour in COLOURS and shape in SHAPES
                assert article == ("an" if colour == "orange" else "a")


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_shape_fills_its_circle_and_stays_in_it(shape: str) -> None:
    side = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    inside = SHAPES[shape](x, y) < 0
    reach = np.hypot(x, y)[inside].max()
    assert 0.9 < reach < 1.2
    assert 0.2 < inside.mean() * 9 / np.pi < 1
    left, up = inside[:, ::-1], inside[::-1]
    assert (inside == left).mean() > 0.999  # the same seen in a mirror: no shape tells left from right
    assert shape in ("star", "triangle") or (inside == up).mean() > 0.999


def test_a_window_draws_what_the_whole_picture_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a thing or its shadow lies outside the window it is drawn in."""
    from kinetoken.actions import drawing

    ground = draw_ground(np.random.default_rng(0), 64)
    for seed, shape in enumerate(sorted(SHAPES)):
        way = _course(PAIRS[seed][0], seed)[:1]
        things = (Thing(shape, "green", 0.2),)
        small = draw(ground, Light(0.4, 1.0), things, way)
        monkeypatch.setattr(drawing, "REACH", 10.0)
        whole = draw(ground, Light(0.4, 1.0), things, way)
        monkeypatch.undo()
        assert np.abs(small.astype(int) - whole).max() <= 1
