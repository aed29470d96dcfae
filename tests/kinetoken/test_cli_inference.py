"""The sub-commands that apply models, as a user runs them: any clips in, results out, faults in one line."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from kinetoken.cli import app
from kinetoken.codes import read_codes
from kinetoken.footage.webm import read_frames, write_webm
from kinetoken.inference import classify, locate, open_any
from kinetoken.scenes.clips import ClipStore, export_webm
from kinetoken.scenes.tracks import read_tracks
from kinetoken.tokenizer.network import load_tokenizer, save_tokenizer
from tests.support.applied import FRAMES, write_mp4, write_own_tracks

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


@pytest.fixture(scope="module")
def workplace(applied: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page's reader has it: models/, data/motion/, and clips of their own. Read only."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "models").symlink_to(applied / "models")
    (folder / "data" / "motion").mkdir(parents=True)
    (folder / "data" / "motion" / "videos").symlink_to(tiny_data / "videos")
    (folder / "data" / "motion" / "codes.parquet").symlink_to(applied / "codes.parquet")
    (folder / "data" / "persistence").mkdir()
    (folder / "data" / "persistence" / "videos").symlink_to(tiny_data / "videos")
    pixels = ClipStore(tiny_data / "videos").read("test", limit=3).pixels
    np.save(folder / "clips.npy", pixels)
    export_webm(folder / "exported.webm", pixels[0], 16)
    write_mp4(folder / "ball.mp4", np.concatenate(list(pixels)).repeat(2, 1).repeat(3, 2))  # 48 frames of 192×128
    (folder / "my_videos").mkdir()
    for name, clip in zip("abc", pixels, strict=True):
        write_webm(folder / "my_videos" / f"{name}.webm", clip, 16)
    tracks = read_tracks(tiny_data / "trajectories.parquet", tiny_data / "track_params.parquet")
    write_own_tracks(folder / "tracks.csv", tracks, 30)
    return folder


@pytest.fixture
def run(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """A command line in a folder of its own, beside which the workplace's files lie."""
    for path in workplace.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return lambda line: CliRunner().invoke(app, shlex.split(line))


def succeeded(result: Result) -> str:
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def refused(result: Result, words: str) -> None:
    """Exit code 1, one message, no traceback."""
    assert result.exit_code == 1 and result.stdout == "", result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and re.search(words, lines[0]), result.stderr
    assert "Traceback" not in result.stderr


SOURCES = {
    "exported.webm --resize": 1, "ball.mp4 --resize --window all": 3, "clips.npy": 3, "tracks.csv": 30,
    "my_videos": 3, "data/motion/videos --limit 5": 5,
}
each_source = pytest.mark.parametrize("source", SOURCES)


@each_source
def test_every_source_goes_through_every_reader(run: Callable[[str], Result], source: str) -> None:
    count = SOURCES[source]
    rows = json.loads(succeeded(run(f"classify {source} --json --quiet")))
    assert len(rows) == count and {row["predicted"] for row in rows} <= {"circular", "helical", "linear", "parabolic"}
    succeeded(run(f"locate {source} --out places.parquet"))
    places = pd.read_parquet("places.parquet")
    assert len(places) == count * FRAMES and np.isfinite(places[["x", "y", "z", "u", "v"]].to_numpy()).all()
    assert places["clip"].nunique() == count
    laws = json.loads(succeeded(run(f"describe {source} --json")))
    assert len(laws) == count and all(row["sentence"].startswith("The ball moves") for row in laws)
    decisions = json.loads(succeeded(run(f"detect {source} --json")))
    assert len(decisions) == count and {"clip", "decision", "frame", "confidence"} <= set(decisions[0])


@each_source
def test_every_source_goes_through_every_painter(run: Callable[[str], Result], source: str) -> None:
    count = SOURCES[source]
    rows = json.loads(succeeded(run(f"reconstruct {source} --out rebuilt.npy --json")))
    assert len(rows) == count and all(row["psnr_db"] > 0 for row in rows)
    assert np.load("rebuilt.npy").shape == (count, 16, 64, 64, 3)
    succeeded(run(f"predict {source} --out next.npy --codes next.parquet"))
    assert np.load("next.npy").shape == (count, 4, 64, 64, 3)
    assert read_codes(Path("next.parquet")).codes.shape == (count, 4, 8, 8)
    succeeded(run(f"tokenize {source} --frames 16 --out codes.parquet"))
    assert read_codes(Path("codes.parquet")).codes.shape == (count, 4, 8, 8)
    assert not list(Path().glob(".partial*"))


def test_codes_that_were_written_are_read_again(run: Callable[[str], Result], applied: Path) -> None:
    succeeded(run("tokenize ball.mp4 --resize --window all --out codes.parquet"))
    from_codes = json.loads(succeeded(run("classify codes.parquet --json")))
    from_clips = json.loads(succeeded(run("classify ball.mp4 --resize --window all --json")))
    assert from_codes == from_clips and [row["clip"] for row in from_codes] == ["ball:0", "ball:16", "ball:32"]
    succeeded(run("predict codes.parquet --out next.webm"))
    assert read_frames(Path("next.webm"), None).shape == (12, 256, 256, 3)
    assert json.loads(succeeded(run("tokenize clips.npy --out more.parquet --json"))) == {
        "clips": 3, "grid": [4, 8, 8], "out": "more.parquet",
    }


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_tables_are_those_of_the_library(run: Callable[[str], Result], applied: Path, ending: str) -> None:
    said = succeeded(run(f"classify data/motion/codes.parquet --split test --out a.{ending}"))
    assert said == f"24 rows in a.{ending}\n"
    found = {"parquet": pd.read_parquet, "csv": pd.read_csv, "json": pd.read_json}[ending](f"a.{ending}")
    there = classify(open_any(applied / "codes.parquet", split="test"), applied / "models" / "classifier")
    pd.testing.assert_frame_equal(
        found.astype({"clip": str}), there, check_dtype=False, rtol=1e-5, check_exact=ending == "parquet"
    )


def test_a_table_for_people(run: Callable[[str], Result]) -> None:
    text = succeeded(run("classify clips.npy --quiet")).splitlines()
    assert text[0].split() == ["clip", "predicted", "probability", "p_circular", "p_helical", "p_linear", "p_parabolic"]
    assert len(text) == 4


def test_other_classifiers_and_prefixes(run: Callable[[str], Result], applied: Path) -> None:
    for model in ("video_classifier", "i3d_magvit"):
        assert len(json.loads(succeeded(run(f"classify clips.npy --model models/{model} --json")))) == 3
    early = json.loads(succeeded(run("classify data/motion/codes.parquet --frames 8 --limit 4 --json")))
    there = classify(open_any(applied / "codes.parquet", limit=4), applied / "models" / "classifier", frames=8)
    assert [row["probability"] for row in early] == there["probability"].tolist()
    succeeded(run("locate data/motion/codes.parquet --frames 8 --limit 4 --out a.parquet"))
    pd.testing.assert_frame_equal(
        pd.read_parquet("a.parquet"),
        locate(open_any(applied / "codes.parquet", limit=4), applied / "models" / "position", frames=8),
        check_exact=True, check_dtype=False,
    )
    assert len(json.loads(succeeded(run("detect clips.npy --model models/persistence/magvit --json")))) == 3


def test_pictures_side_by_side_and_in_a_folder(run: Callable[[str], Result]) -> None:
    succeeded(run("reconstruct clips.npy --side-by-side --out side.webm --scale 2"))
    assert read_frames(Path("side.webm"), None).shape == (48, 128, 384, 3)
    succeeded(run("reconstruct my_videos --out rebuilt --format mp4"))
    assert sorted(os.listdir("rebuilt")) == ["a.mp4", "b.mp4", "c.mp4"]
    rows = json.loads(succeeded(run("predict clips.npy --with-past --out next.mp4 --json")))
    assert rows == [{"clip": str(i), "given": 12, "predicted": 4} for i in range(3)]
    assert len(read_frames(Path("next.mp4"), None)) == 48


def test_generated_clips(run: Callable[[str], Result]) -> None:
    succeeded(run("generate --class helical --class linear --count 2 --seed 3 --out made.npy --codes made.parquet"))
    codes = read_codes(Path("made.parquet"))
    assert codes.label.tolist() == ["helical", "helical", "linear", "linear"] and set(codes.split) == {"generated"}
    assert np.load("made.npy").shape == (4, 16, 64, 64, 3)
    succeeded(run("generate --class helical --class linear --count 2 --seed 3 --out again.parquet"))
    np.testing.assert_array_equal(read_codes(Path("again.parquet")).codes, codes.codes)
    rows = json.loads(succeeded(run("generate --out all --prior gaussian --json")))
    assert [row["class"] for row in rows] == ["circular", "helical", "linear", "parabolic"]
    assert sorted(os.listdir("all")) == [f"{row['class']}-0.webm" for row in rows]


def test_what_was_done_to_clips_is_said(run: Callable[[str], Result]) -> None:
    for quiet in ("", " --quiet"):
        result = run(f"classify ball.mp4 --resize --window first{quiet}")
        succeeded(result)
        assert "note: ball.mp4: frames of 192×128, the middle 128×128 averaged down to 64×64" in result.stderr
    result = run("tokenize ball.mp4 --resize --window all --frames 20 --out codes.parquet")
    succeeded(result)
    assert "note: ball.mp4: the last 8 frames fill no window of 20 and are not read" in result.stderr


# ---- what is wrong is said in one line, and nothing is left


def changed_config(source: str, target: str, **changes: object) -> None:
    shutil.copytree(source, target)
    path = Path(target) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


FAULTS = {
    "no model folder": ("classify clips.npy --model models/none", r"classify: models/none: no such folder"),
    "another kind of model": (
        "locate clips.npy --model models/classifier", "models/classifier: a classifier of codes; needed is a position"
    ),
    "no model at all": ("reconstruct clips.npy --model my_videos --out a.webm", "my_videos: not a model folder"),
    "another version": ("classify clips.npy --model newer", "newer: does not fit this version of Kinetoken"),
    "another tokenizer": (
        "classify clips.npy --tokenizer other", "models/classifier: trained on codes of tokenizer .*, but other is"
    ),
    "codes of another tokenizer": (
        "locate foreign.parquet", "foreign.parquet: made by tokenizer .*, but models/position"
    ),
    "no such clips": ("classify none.mp4", "none.mp4: no such file or folder"),
    "an empty video": ("classify empty.webm", r"empty.webm: not a whole video \(empty: 0 bytes\)"),
    "no video": ("predict text.mp4 --out a.webm", r"text.mp4: not a whole video \(unreadable"),
    "a video without frames": ("reconstruct still.webm --out a.webm", "still.webm: not a whole video"),
    "half a video": ("classify half.webm", "half.webm: not a whole video"),
    "another size": ("classify exported.webm", "exported.webm: frames are 256×256, models/tokenizer takes 64×64|"
                                               "frames are 256×256, models/classifier takes 64×64; --resize"),
    "too few frames": ("classify short.npy", "short.npy: 8 frames, models/classifier reads 16"),
    "too many frames": ("classify ball.mp4 --resize", "ball.mp4: more than 16 frames, .*--window all"),
    "no multiple of four": (
        "tokenize odd.npy --out a.parquet", "odd.npy: 15 frames, models/tokenizer reads a multiple of 4"
    ),
    "an output that exists": ("classify clips.npy --out taken.csv", "taken.csv exists; .*--force"),
    "an ending that says nothing": ("generate --class linear --out a.avi", "a.avi: the ending says what is written"),
    "no output": ("generate --class linear", "name --out .* or --codes"),
    "two codes tables": ("generate --out a.parquet --codes b.parquet", "two codes tables"),
    "an unknown class": ("generate --class zigzag --out a.webm", "--class zigzag: models/generator knows circular"),
    "a folder that is a file": ("classify clips.npy --out taken.csv/a.csv", "taken.csv is a file"),
    "a place that cannot be written": ("classify clips.npy --out /proc/none/a.csv", "/proc"),
    "NaN in a track": ("classify nan.csv", r"nan.csv: track 1, frame 4 \(row 21\), column 'y': missing or not finite"),
    "a wrong window": ("classify clips.npy --window middle", "--window middle: choose first, last, all"),
    "a wrong device": ("classify clips.npy --device tpu", "--device tpu: choose auto, cpu or cuda"),
    "a wrong prefix": ("classify clips.npy --frames 6", "--frames 6: models/classifier reads a multiple of 4"),
    "codes for a reader of pixels": (
        "detect data/motion/codes.parquet", "codes.parquet: a codes table, and this needs the clips themselves"
    ),
    "an unknown split": ("classify data/motion/codes.parquet --split dev", "no clip of split 'dev'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_end_with_one_message_and_leave_nothing(
    run: Callable[[str], Result], applied: Path, fault: str
) -> None:
    network = json.loads((applied / "models" / "classifier" / "config.json").read_text())["network"]
    changed_config("models/classifier", "newer", network={**network, "layers": 3})
    module = load_tokenizer(Path("models/tokenizer"))
    module.background += 0.01
    save_tokenizer(Path("other"), module)
    pixels = np.load("clips.npy")
    write_codes_of("f" * 64, Path("foreign.parquet"))
    Path("empty.webm").write_bytes(b"")
    Path("text.mp4").write_text("no video\n" * 100)
    no_frames(Path("still.webm"))
    content = Path("my_videos/a.webm").read_bytes()
    Path("half.webm").write_bytes(content[: len(content) // 2])
    np.save("short.npy", pixels[:, :8])
    np.save("odd.npy", pixels[:, :15])
    Path("taken.csv").write_text("mine")
    table = pd.read_csv("tracks.csv")
    table.assign(y=table["y"].where(table.index != 20)).to_csv("nan.csv", index=False)
    before = sorted(os.listdir())
    line, words = FAULTS[fault]
    refused(run(line), words)
    assert sorted(os.listdir()) == before and Path("taken.csv").read_text() == "mine"


def write_codes_of(tokenizer: str, path: Path) -> None:
    """The workplace's codes, said to be of another tokenizer."""
    import dataclasses

    from kinetoken.codes import write_codes

    table = read_codes(Path("data/motion/codes.parquet"))
    meta = dataclasses.replace(table.meta, tokenizer=tokenizer)
    write_codes(path, meta, [dataclasses.replace(table, meta=meta)])


def no_frames(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=16)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def test_what_is_broken_late_leaves_what_was_there(run: Callable[[str], Result]) -> None:
    """The second file breaks off after the first was read: the older output stays, and no part of the new one."""
    content = Path("my_videos/b.webm").read_bytes()
    Path("b.webm").write_bytes(content[: int(len(content) * 0.9)])
    Path("old.npy").write_text("mine")
    refused(run("reconstruct my_videos/a.webm b.webm --out old.npy --force"), "b.webm: not a whole video")
    assert Path("old.npy").read_text() == "mine" and not list(Path().glob(".partial*"))
    succeeded(run("reconstruct my_videos/a.webm --out old.npy --force"))
    assert np.load("old.npy").shape == (1, 16, 64, 64, 3)


# ---- the page


def commands_of_the_page() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("kinetoken ") for line in lines if line.startswith("kinetoken ")]


@pytest.mark.parametrize("line", commands_of_the_page())
def test_each_example_of_the_page_runs(run: Callable[[str], Result], line: str) -> None:
    succeeded(run(line))


def test_the_page_has_an_example_of_each_subcommand() -> None:
    shown = {line.split()[0] for line in commands_of_the_page()}
    assert shown == {"tokenize", "reconstruct", "classify", "locate", "describe", "predict", "generate", "detect"}


def test_the_pages_python_runs(run: Callable[[str], Result]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
