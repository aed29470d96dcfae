"""When a generator's forecasts are scored; that their numbers are right is shown on the stage."""

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesMeta, CodesTable
from kinetoken.core.stage import Context
from kinetoken.dataset import Dataset
from kinetoken.generation.forecasting import COLUMNS, forecast_numbers, horizon_table, score_forecasts
from kinetoken.generation.generator import Generator, GeneratorShape
from kinetoken.tokenizer.codebook import Codebook
from kinetoken.tokenizer.network import NetworkParams, Tokenizer
from tests.support.generators import MASKED, PLAN_SHAPE
from tests.support.quantizers import FSQ


@pytest.mark.parametrize(("slices", "causal"), [(4, False), (1, True)])
def test_where_the_past_knows_the_future_or_there_is_none_nothing_is_scored(slices: int, causal: bool) -> None:
    tokenizer = Tokenizer(NetworkParams(
        stem="patch", causal=causal, fine_channels=8, fine_blocks=1, coarse_channels=16, coarse_blocks=1,
    ), FSQ, 64)
    meta = CodesMeta((slices, 8, 8), 1000, "fsq", (8, 5, 5, 5), "abc")
    codes = np.zeros((2, slices, 8, 8), np.int32)
    table = CodesTable(np.arange(2, dtype=np.int32), np.array(["a", "b"]), np.array(["train", "test"]), codes, meta)
    generator = Generator(GeneratorShape(
        ("a", "b"), meta.grid, meta.levels, 1000, coordinates=4, slice_frames=4, components=1, plan=PLAN_SHAPE,
        patch=2, width=8, layers=1, heads=2,
    ), Codebook(torch.zeros(1000, 4), meta.levels), MASKED.sampling)
    scores = score_forecasts(generator, Dataset(codes=table, tokenizer=tokenizer), Context.silent())
    assert scores == {} and forecast_numbers(scores, 10) == {}
    assert horizon_table(scores).empty and tuple(horizon_table(scores)) == COLUMNS
