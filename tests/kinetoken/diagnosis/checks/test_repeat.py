"""Two extractions of the same clips, by real modules where the difference is theirs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from vector_quantize_pytorch import FSQ

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.checks import checked
from kinetoken.diagnosis.checks.repeat import together
from tests.support.peers import facts_of, found, peer

RUNS, BATCH = "codes differ between runs", "codes depend on the batch"
LATENTS = peer(250).latents
LEVELS = {"levels": [8, 5, 5, 5]}


class Encoder(torch.nn.Module):
    """Batch normalisation or dropout, and FSQ."""

    def __init__(self, between: torch.nn.Module) -> None:
        super().__init__()
        self.between, self.quantizer = between, FSQ([8, 5, 5, 5])

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.quantizer(self.between(latents.movedim(-1, 1)))[1]


def extracted(model: torch.nn.Module, batch: int, last_filled: bool = False) -> np.ndarray:
    found = []
    with torch.no_grad():
        for start in range(0, len(LATENTS), batch):
            part = torch.from_numpy(LATENTS[start : start + batch])
            filled = torch.cat([part, part.new_zeros(batch - len(part), *part.shape[1:])]) if last_filled else part
            found.append(model(filled)[: len(part)].numpy())
    return np.concatenate(found)


def test_the_same_codes_are_no_finding() -> None:
    model = Encoder(torch.nn.BatchNorm3d(4)).eval()
    first, second = extracted(model, 16), extracted(model, 50)
    facts = facts_of(first, LEVELS, again=second)
    assert checked(facts).numbers["again"] == {"tokens_differing": 0, "clips_differing": 0, "clips": 250}
    assert not {RUNS, BATCH} & set(found(first, LEVELS, again=second))


def test_dropout_left_on() -> None:
    torch.manual_seed(0)
    model = Encoder(torch.nn.Dropout(0.1)).train()
    finding = found(extracted(model, 16), LEVELS, again=extracted(model, 16))[RUNS]
    assert finding.severity is not None and finding.severity > 0.2 and "Every clip differs" in finding.evidence


def test_a_last_batch_of_another_size() -> None:
    model = Encoder(torch.nn.BatchNorm3d(4, track_running_stats=False))
    finding = found(extracted(model, 16), LEVELS, again=extracted(model, 16, last_filled=True))[BATCH]
    assert "rows 240 to 249 of 250" in finding.evidence


def test_every_kth_row_and_whole_batches() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 100, (300, 2, 4, 4))
    again = codes.copy()
    again[3::8] = (again[3::8] + rng.integers(0, 2, again[3::8].shape)) % 100
    assert "rows 3, 11, 19, …" in found(codes, {"codebook_size": 100}, again=again)[BATCH].evidence
    blocks = np.repeat(rng.random(19) < 0.4, 16)[:300]
    again = np.where(blocks[:, None, None, None], (codes + 1) % 100, codes)
    assert "multiples of 16" in found(codes, {"codebook_size": 100}, again=again)[BATCH].evidence


@pytest.mark.parametrize("share", [0.003, 0.2, 1.0])
def test_differences_anywhere_do_not_follow_the_batch(share: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 100, (300, 2, 4, 4))
        again = np.where(rng.random(codes.shape) < share, rng.integers(0, 100, codes.shape), codes)
        finding = found(codes, {"codebook_size": 100}, again=again)[RUNS]
        assert (finding.severity == 0) == (share < 0.01)
        rows = np.where(rng.random(300)[:, None, None, None] < share, (codes + 1) % 100, codes)
        assert BATCH not in found(codes, {"codebook_size": 100}, again=rows)


def test_a_codebook_in_another_order_is_said() -> None:
    rng = np.random.default_rng(0)
    codes, renamed = rng.integers(0, 100, (200, 2, 4, 4)), rng.permutation(100)
    finding = found(codes, {"codebook_size": 100}, again=renamed[codes])[RUNS]
    assert "one-to-one renaming of codes explains 100%" in finding.evidence


def test_rows_are_matched_by_id_and_layouts_are_the_first_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes, order = rng.integers(0, 100, (200, 2, 4, 4)), rng.permutation(200)
    ids = np.array([f"v{row}" for row in range(200)])
    shuffled = {"codes": codes[order].reshape(200, 2, 4, 4), "video_id": ids[order]}
    facts = facts_of({"codes": codes, "video_id": ids}, {"codebook_size": 100}, again=shuffled)
    assert facts.again is not None and facts.again.share == 0 and len(facts.again.differing) == 200
    with pytest.raises(UserError, match="rows of 4 × 8 codes, but those of array 'codes' have 2 × 4 × 4"):
        facts_of(codes, {"codebook_size": 100}, again=codes.reshape(200, 4, 8))
    with pytest.raises(UserError, match="199 rows of the second extraction, but the codes table has 200"):
        facts_of(codes, {"codebook_size": 100}, again=codes[1:])
    with pytest.raises(UserError, match="numbers with fractions"):
        facts_of(codes, {"codebook_size": 100}, again=codes + 0.5)


def test_streams_of_other_batches_are_cut_alike() -> None:
    values = np.arange(50)[:, None, None]
    sevens, fours = ([values[at : at + size] for at in range(0, 50, size)] for size in (7, 4))
    pairs = list(together(sevens, fours))
    assert all(np.array_equal(*pair) for pair in pairs) and sum(len(one) for one, _ in pairs) == 50
