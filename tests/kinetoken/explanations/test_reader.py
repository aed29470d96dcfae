"""The classifier read by features in place of codes: the same answer, for every pooling."""

from typing import get_args

import numpy as np
import pytest
import torch

from kinetoken.explanations.reader import FeatureReader, code_tables, random_weights
from kinetoken.heads.classifier import CodeClassifier
from kinetoken.heads.poolings import POOLINGS, CodeFeatures, SoftArgmax

GRID = (3, 4, 4)
COORDINATES = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
NETWORK: dict[str, object] = {"channels": 6, "blocks": 1, "maps": 2, "width": 12}
CODES = np.random.default_rng(1).integers(0, 20, (5, *GRID)).astype(np.int32)


def head(pooling: str, code_features: CodeFeatures = "both") -> CodeClassifier:
    torch.manual_seed(3)
    made = CodeClassifier(
        ("a", "b", "c"), COORDINATES, GRID, pooling, channels=6, blocks=1, maps=2, width=12,
        code_features=code_features,
    )
    if isinstance(made.pool, SoftArgmax):
        made.pool.notice(torch.from_numpy(CODES[:2].astype(np.int64)))
    made.temperature[:] = torch.tensor([1.0, 2.0, 0.5])
    return made.eval()


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("code_features", get_args(CodeFeatures))
def test_features_say_what_codes_say(pooling: str, code_features: CodeFeatures) -> None:
    module = head(pooling, code_features)
    reader = FeatureReader(module)
    features = reader.features(CODES).requires_grad_()
    found = reader.log_probabilities(features)
    np.testing.assert_allclose(found.detach(), module.log_probabilities(CODES), atol=1e-5)
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), features)
    assert (gradient.abs().sum((0, 1, 2, 3)) > 0).all(), "each feature that is held is read"
    np.testing.assert_array_equal(reader.chosen(features.detach()), module.log_probabilities(CODES).argmax(1))


def test_a_table_holds_what_a_code_enters_by() -> None:
    widths = {
        kind: [table.shape[1] for _, table in code_tables(head("soft_argmax", kind))]
        for kind in get_args(CodeFeatures)
    }
    assert widths == {"coordinates": [3], "index": [6], "both": [3, 6]}
    assert [name for name, _ in code_tables(head("spatial_mean"))] == ["pool.coordinates"]


def test_the_baseline_is_the_mean_at_each_place() -> None:
    reader = FeatureReader(head("soft_argmax"))
    many = np.concatenate([CODES] * 30)
    torch.testing.assert_close(reader.mean_features(many), reader.features(CODES).mean(0))


def test_random_weights_are_others_on_the_same_codes() -> None:
    module = head("soft_argmax")
    state = torch.get_rng_state()
    one, again, other = (random_weights(module, NETWORK, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(one.pool.encoder.coordinates, COORDINATES)
    codes = [each.log_probabilities(CODES) for each in (module, one, again, other)]
    np.testing.assert_array_equal(codes[1], codes[2])
    assert np.abs(codes[0] - codes[1]).max() > 1e-3 < np.abs(codes[1] - codes[3]).max()
