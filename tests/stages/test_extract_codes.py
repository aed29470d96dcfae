"""The codes table says exactly what the tokenizer makes of the clips."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kinetoken.codes import CodesTable, read_codes
from kinetoken.core.artifacts import hash_path
from kinetoken.core.errors import UserError
from kinetoken.core.numbers import read_numbers
from kinetoken.core.stage import Context
from kinetoken.scenes.clips import ClipStore
from kinetoken.tokenizer.network import NetworkParams, Tokenizer, load_tokenizer, save_tokenizer
from stages import extract_codes
from stages.extract_codes import Extraction, Paths, run
from tests.support.quantizers import FSQ

NETWORK = NetworkParams(
    stem="patch", causal=True, fine_channels=8, fine_blocks=0, coarse_channels=16, coarse_blocks=1,
)


def tokenizer(folder: Path, image_size: int = 64) -> Path:
    """An untrained tokenizer whose output does depend on its codes."""
    torch.manual_seed(0)
    module = Tokenizer(NETWORK, FSQ, image_size)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_tokenizer(folder, module)
    return folder


@pytest.fixture(scope="module")
def paths(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    folder = tmp_path_factory.mktemp("codes")
    where = stage_paths(tiny_data / "videos", tokenizer(folder / "model"), folder)
    run(Extraction(batch_size=8), where, Context.silent())
    return where


def stage_paths(videos: Path, model: Path, out: Path) -> Paths:
    return Paths(videos, model, out / "codes.parquet", out / "metrics.json", out / "metrics", out / "metrics.csv")


@pytest.fixture(scope="module")
def table(paths: Paths) -> CodesTable:
    return read_codes(paths.codes)


def test_every_clip_in_order_with_its_metadata(paths: Paths, table: CodesTable) -> None:
    store = ClipStore(paths.videos)
    np.testing.assert_array_equal(table.track_id, store.track_id)
    np.testing.assert_array_equal(table.label, store.label)
    np.testing.assert_array_equal(table.split, store.split)
    assert len(store.shards) > 1  # so that streaming is put to the test
    assert table.meta.grid == (4, 8, 8) and table.meta.codebook_size == 1000 and table.meta.levels == (8, 5, 5, 5)
    assert table.meta.quantizer == "fsq" and table.meta.tokenizer == hash_path(paths.tokenizer)


def test_decoding_the_table_gives_the_tokenizers_own_video(paths: Paths, table: CodesTable) -> None:
    module = load_tokenizer(paths.tokenizer)
    pixels = torch.from_numpy(ClipStore(paths.videos).read().pixels[:8])
    decoded = module.decode(torch.from_numpy(table.codes[:8]).long())
    assert torch.equal(decoded, module.reconstruct(pixels))
    other = module.decode(torch.from_numpy(table.codes[8:16]).long())
    assert (decoded - other).abs().max() > 0.01  # the codes do tell clips apart


def test_batches_do_not_matter(paths: Paths, table: CodesTable, tmp_path: Path) -> None:
    where = stage_paths(paths.videos, paths.tokenizer, tmp_path)
    run(Extraction(batch_size=33), where, Context.silent())
    # another batch size may add up in another order: a latent within 1e-6 of a border may fall to its other side
    assert (read_codes(where.codes).codes != table.codes).mean() < 1e-4


def test_metrics(paths: Paths, table: CodesTable) -> None:
    metrics = read_numbers(paths.numbers)
    assert metrics["clips"] == len(table) == 96 and metrics["tokens_per_clip"] == 256
    assert metrics["bits_per_clip"] == pytest.approx(256 * np.log2(1000), rel=1e-5)
    assert metrics["codes_used_share"] == len(np.unique(table.codes)) / 1000


def test_twice_the_same_bytes(paths: Paths, tmp_path: Path) -> None:
    where = stage_paths(paths.videos, paths.tokenizer, tmp_path)
    run(Extraction(batch_size=8), where, Context.silent())
    assert where.codes.read_bytes() == paths.codes.read_bytes()


def _main(paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch, videos: Path, model: Path) -> int:
    params = folder / "params.yaml"
    params.write_text(
        "extract_codes:\n  motion:\n    batch_size: 8\n"
        "hardware:\n  accelerator: cpu\n  devices: 1\n  strategy: auto\n  precision: auto\n  threads: 2\n"
    )
    flags = {"--params": params, "--section": "extract_codes.motion", "--run-info": folder / "run_info",
             "--videos": videos, "--tokenizer": model, "--codes": folder / "codes.parquet",
             "--metrics": folder / "metrics.json"}
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["extract_codes", *(str(word) for pair in flags.items() for word in pair)])
    return extract_codes.main()


@pytest.mark.parametrize("fault", ["truncated", "flipped"])
def test_a_damaged_shard_is_named_and_nothing_is_left(
    fault: str, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(paths.videos, tmp_path / "videos")
    shard = tmp_path / "videos" / "part-00001.parquet"
    content = bytearray(shard.read_bytes())
    if fault == "flipped":
        content[len(content) // 2] ^= 16
    shard.write_bytes(content if fault == "flipped" else content[: len(content) // 2])
    assert _main(paths, tmp_path, monkeypatch, tmp_path / "videos", paths.tokenizer) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: extract_codes:") and "part-00001.parquet" in message
    assert not list(tmp_path.glob("*codes.parquet")) and not (tmp_path / "metrics.json").exists()


def test_clips_of_another_size_are_refused(paths: Paths, tmp_path: Path) -> None:
    where = stage_paths(paths.videos, tokenizer(tmp_path / "model", 32), tmp_path)
    with pytest.raises(UserError, match="clips are 64×64, the tokenizer takes 32×32"):
        run(Extraction(batch_size=8), where, Context.silent())
    assert not where.codes.exists()


def test_the_script_runs_alone(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _main(paths, tmp_path, monkeypatch, paths.videos, paths.tokenizer) == 0
    assert (tmp_path / "codes.parquet").read_bytes() == paths.codes.read_bytes()
