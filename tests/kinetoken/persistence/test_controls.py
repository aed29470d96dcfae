"""Labels dealt at random: half of every group, whatever its size."""

import numpy as np

from kinetoken.persistence.controls import dealt_labels


def test_half_of_each_group_gets_each_label_at_random() -> None:
    rng = np.random.default_rng(0)
    group = np.stack([rng.integers(0, 2, 400), rng.integers(1, 6, 400)], -1)
    dealt = dealt_labels(group, np.random.default_rng(1))
    assert set(dealt) == {0, 1} and abs(int(dealt.sum()) - 200) <= 1
    for each in np.unique(group, axis=0):
        inside = dealt[(group == each).all(1)]
        assert abs(int(inside.sum()) - len(inside) / 2) <= 0.5
    other = dealt_labels(group, np.random.default_rng(2))
    assert 0.4 < float((dealt == other).mean()) < 0.6, "which half, is chance"
    np.testing.assert_array_equal(dealt, dealt_labels(group, np.random.default_rng(1)))


def test_what_disappears_goes_with_neither_label() -> None:
    lifetime = np.repeat([3, 32], 100)
    dealt = dealt_labels(np.stack([lifetime == 32, lifetime], -1), np.random.default_rng(3))
    assert dealt[:100].sum() == dealt[100:].sum() == 50
