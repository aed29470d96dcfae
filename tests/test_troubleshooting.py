"""docs/troubleshooting.md: every message on it is produced here, by the command that prints it.

An entry is a heading of the third level; its first block `text` is the message. The function below that bears the same
heading causes it with tiny inputs and returns what was printed. Before the two are compared, `usual` writes what differs
from run to run in one way: the folder of the test, process numbers, hashes of 12 digits.
"""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from kinetoken.cli import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/troubleshooting.md"
NOBODY = 65534


@dataclass(frozen=True)
class Desk:
    """A folder in which someone types commands: the current one, with params.yaml in it."""

    folder: Path
    coded: Path  # tokenizer/ and codes.parquet, read only
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, module: str, *words: str) -> str:
        """What `python -m MODULE WORDS` prints, in this process."""
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", [module, *words])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit):
                runpy.run_module(module, run_name="__main__", alter_sys=True) if module.startswith("kinetoken") else (
                    sys.exit(__import__(module, fromlist=["main"]).main())
                )
        finally:
            signal.signal(signal.SIGTERM, before)
        return "".join(self.capsys.readouterr())

    def stage(self, name: str, *words: str) -> str:
        return self.run(f"stages.{name}", *words)

    def kinetoken(self, *words: str) -> str:
        """What the command prints."""
        return CliRunner().invoke(app, words, prog_name="kinetoken").output

    def shell(self, *words: str, **environment: str) -> str:
        """What another program prints."""
        done = subprocess.run(
            words, cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
        )
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def edit_params(self, before: str, after: str) -> None:
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        assert text.count(before) >= 1, before
        self.write("params.yaml", text.replace(before, after, 1))


PRODUCERS: dict[str, Callable[[Desk], str]] = {}


def entry(heading: str) -> Callable[[Callable[[Desk], str]], Callable[[Desk], str]]:
    def add(produce: Callable[[Desk], str]) -> Callable[[Desk], str]:
        assert heading not in PRODUCERS
        PRODUCERS[heading] = produce
        return produce
    return add


@pytest.fixture
def desk(
    tmp_path: Path, coded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path, coded, monkeypatch, capsys)


# setup

@entry("nopython")
def _(desk: Desk) -> str:
    shutil.copy(ROOT / "Makefile", desk.folder)
    desk.write("requirements.txt", "")
    return desk.shell("make", "setup", "PYTHON=python3.9")

@entry("notfound")
def _(desk: Desk) -> str:
    return desk.shell("bash", "-c", "kinetoken diagnose codes.npz", PATH="/usr/bin:/bin")

@entry("otherpython")
def _(desk: Desk) -> str:
    return desk.shell(sys.executable, "-S", "-m", "stages.train_classifier", PYTHONPATH=str(ROOT))

@entry("extras")
def _(desk: Desk) -> str:
    desk.monkeypatch.setitem(sys.modules, "h5py", None)
    desk.write("codes.h5", "\x89HDF\r\n")
    return desk.kinetoken("diagnose", "codes.h5")

@entry("checkout")
def _(desk: Desk) -> str:
    return desk.kinetoken("run")

@entry("nodvc")
def _(desk: Desk) -> str:
    for folder in ("stages", "tools", "kinetoken"):
        (desk.folder / folder).mkdir()
    desk.write("dvc.yaml", "stages: {}\n")
    desk.monkeypatch.setenv("PATH", "/nowhere")
    desk.monkeypatch.setattr(sys, "executable", "/nowhere/python")
    return desk.kinetoken("run")

@entry("noinput")
def _(desk: Desk) -> str:
    return desk.stage("extract_codes")

@entry("running")
def _(desk: Desk) -> str:
    import fcntl
    desk.write("run_info/render_videos_motion/lock", "4711")
    with open("run_info/render_videos_motion/lock", "a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return desk.stage("render_videos", "--section", "render_videos.motion")

@entry("stopped")
def _(desk: Desk) -> str:
    from stages import generate_trajectories
    desk.write("data/sources/synthetic.csv", "")
    desk.monkeypatch.setattr(generate_trajectories, "draw_tracks", lambda params: os.kill(os.getpid(), signal.SIGTERM))
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", "data/sources/synthetic.csv")

@entry("interrupted")
def _(desk: Desk) -> str:
    from stages import generate_trajectories
    desk.write("data/sources/synthetic.csv", "")
    desk.monkeypatch.setattr(generate_trajectories, "draw_tracks", lambda params: os.kill(os.getpid(), signal.SIGINT))
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", "data/sources/synthetic.csv")

@entry("unknownkey")
def _(desk: Desk) -> str:
    desk.edit_params("clips: 480  #", "clip: 480  #")
    for name in ("codes.parquet", "videos", "m"):
        desk.write(name, "")
    return desk.stage("read_motion")

@entry("missingkey")
def _(desk: Desk) -> str:
    desk.edit_params("extract_codes:\n  motion:\n    batch_size: 16", "extract_codes:\n  motion: {}")
    return desk.stage("extract_codes", "--section", "extract_codes.motion")

@entry("nosection")
def _(desk: Desk) -> str:
    return desk.stage("extract_codes", "--section", "extract_code.motion")

@entry("sectionless")
def _(desk: Desk) -> str:
    return desk.stage("extract_codes")

@entry("exponent")
def _(desk: Desk) -> str:
    desk.edit_params("learning_rate: 0.002", "learning_rate: 2e-3")
    return desk.stage("train_tokenizer")

@entry("range")
def _(desk: Desk) -> str:
    desk.edit_params("threads: 2", "threads: 0")
    return desk.stage("train_tokenizer")

@entry("yaml")
def _(desk: Desk) -> str:
    desk.edit_params("  threads: 2", "  threads: 2\n\tdevices: 2")
    return desk.stage("train_tokenizer")

@entry("noprofile")
def _(desk: Desk) -> str:
    return desk.run("kinetoken.core.params", "overlay", "profiles/gpus.yaml")

@entry("badprofile")
def _(desk: Desk) -> str:
    desk.write("profiles/mine.yaml", "train_clasifier: {epochs: 3}\n")
    return desk.run("kinetoken.core.params", "overlay", "profiles/mine.yaml")

# tracks
def tracks(count=96, frames=16, **changes) -> pd.DataFrame:
    frame = np.tile(np.arange(frames), count)
    track = np.repeat(np.arange(count), frames)
    laws = np.array(["left", "right"])[track % 2]
    way = np.where(track % 2, 1.0, -1.0)
    return pd.DataFrame({"track_id": track, "class": laws, "frame": frame, "x": way * frame * 0.02, "y": 0.0, "z": 3.0}).assign(**changes)

def read_tracks(desk: Desk, table: pd.DataFrame, name="my_tracks.csv") -> str:
    table.to_csv(name, index=False)
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", name)

@entry("goodtracks")
def _(desk): return read_tracks(desk, tracks())
@entry("notracks")
def _(desk): return desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", "data/sources/my_tracks.csv")
@entry("column")
def _(desk): return read_tracks(desk, tracks().rename(columns={"z": "depth"}))
@entry("noclass")
def _(desk): return read_tracks(desk, tracks().drop(columns="class"))
@entry("gap")
def _(desk): return read_tracks(desk, tracks().drop(index=[20]))
@entry("ragged")
def _(desk): return read_tracks(desk, tracks().drop(index=[47]))
@entry("four")
def _(desk): return read_tracks(desk, tracks(frames=15))
@entry("view")
def _(desk): return read_tracks(desk, tracks(z=3.0, x=400.0))
@entry("nan")
def _(desk): return read_tracks(desk, tracks().astype({"x": object}).assign(x=lambda t: [("" if i == 20 else v) for i, v in enumerate(t.x)]))
@entry("fewtracks")
def _(desk): return read_tracks(desk, tracks(count=3))
@entry("px")
def _(desk):
    desk.edit_params("unit: m  #", "unit: px  #")
    return read_tracks(desk, tracks())
@entry("thousands")
def _(desk):
    desk.write("my_tracks.csv", "track_id;frame;x;y;z\n1;0;1,234;0;3,000\n")
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", "my_tracks.csv")
@entry("persistence_own")
def _(desk):
    tracks().to_csv("my_tracks.csv")
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.persistence", "--source", "my_tracks.csv")
@entry("twice")
def _(desk):
    t = tracks(); return read_tracks(desk, pd.concat([t, t.iloc[:1]]))

# videos
def videos(desk, names=None, frames=16, side=(64, 64)):
    rng = np.random.default_rng(0)
    for name in names or [f"{c}/{i}.npy" for c in ("left", "right") for i in range(5)]:
        p = desk.folder / "my_videos" / name
        p.parent.mkdir(parents=True, exist_ok=True)
        np.save(p, rng.integers(0, 255, (frames, *side, 3), dtype=np.uint8))

def read_videos(desk):
    first = desk.stage("generate_trajectories", "--section", "generate_trajectories.motion", "--source", "my_videos")
    return first + desk.stage("render_videos", "--section", "render_videos.motion", "--source", "my_videos")

@entry("goodvideos")
def _(desk):
    videos(desk); return read_videos(desk)
@entry("novideos")
def _(desk):
    desk.write("my_videos/notes.txt", "x"); return read_videos(desk)
@entry("broken")
def _(desk):
    videos(desk); desk.write("my_videos/left/0.mp4", "no video"); return read_videos(desk)
@entry("brokenempty")
def _(desk):
    videos(desk); desk.write("my_videos/left/0.mp4", ""); return read_videos(desk)
@entry("shortvideo")
def _(desk):
    videos(desk, frames=12); return read_videos(desk)
@entry("labelsno")
def _(desk):
    videos(desk); desk.write("my_videos/labels.csv", "video,class\nball_1.npy,left\n"); return read_videos(desk)
@entry("labelsmissing")
def _(desk):
    videos(desk); desk.write("my_videos/labels.csv", "video,class\nleft/0.npy,left\n"); return read_videos(desk)
@entry("labelscol")
def _(desk):
    videos(desk); desk.write("my_videos/labels.csv", "name,label\nleft/0.npy,left\n"); return read_videos(desk)
@entry("fewvideos")
def _(desk):
    videos(desk, ["left/0.npy", "left/1.npy", "left/2.npy"]); return read_videos(desk)
@entry("sizes")
def _(desk):
    from PIL import Image
    videos(desk)
    for i in range(16):
        p = desk.folder / f"my_videos/left/shot/{i:03d}.png"; p.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64 if i < 5 else 48)).save(p)
    return read_videos(desk)
@entry("arrays")
def _(desk):
    videos(desk); np.save("my_videos/left/0.npy", np.zeros((16, 64, 64, 3), np.float32)); return read_videos(desk)

# doctor
def codes(desk, shape=(40, 4, 8, 8), high=16):
    np.save("codes.npy", np.random.default_rng(0).integers(0, high, shape))
@entry("d_nofile")
def _(desk): return desk.kinetoken("diagnose", "code.npy")
@entry("d_layout")
def _(desk):
    codes(desk, (40, 4, 8, 8, 8)); return desk.kinetoken("diagnose", "codes.npy")
@entry("d_layout2")
def _(desk):
    codes(desk, (40, 5, 8)); return desk.kinetoken("diagnose", "codes.npy")
@entry("d_named")
def _(desk):
    np.savez("codes.npz", a=np.zeros((4, 4)), b=np.zeros((4, 4))); return desk.kinetoken("diagnose", "codes.npz")
@entry("d_pickle")
def _(desk):
    np.save("codes.npy", np.array([{"a": 1}], object)); return desk.kinetoken("diagnose", "codes.npy")
@entry("d_pt")
def _(desk):
    class A: pass
    torch.save({"codes": np.zeros(4)}, "codes.pt"); return desk.kinetoken("diagnose", "codes.pt")
@entry("d_labels")
def _(desk):
    codes(desk); pd.DataFrame({"class": ["a", "b"] * 19}).to_csv("labels.csv", index=False)
    return desk.kinetoken("diagnose", "codes.npy", "--labels", "labels.csv")
@entry("d_labelcol")
def _(desk):
    codes(desk); pd.DataFrame({"kind": ["a", "b"] * 20}).to_csv("labels.csv", index=False)
    return desk.kinetoken("diagnose", "codes.npy", "--labels", "labels.csv")
@entry("d_own")
def _(desk):
    codes(desk); pd.DataFrame({"label": range(40)}).to_csv("labels.csv", index=False)
    return desk.kinetoken("diagnose", "codes.npy", "--labels", "labels.csv")
@entry("d_oneclass")
def _(desk):
    codes(desk); pd.DataFrame({"label": ["a"]*40}).to_csv("labels.csv", index=False)
    return desk.kinetoken("diagnose", "codes.npy", "--labels", "labels.csv")
@entry("d_range")
def _(desk):
    codes(desk); np.save("clips.npy", np.random.default_rng(0).normal(0, 1, (40, 8, 32, 32, 3)).astype(np.float32))
    return desk.kinetoken("diagnose", "codes.npy", "--clips", "clips.npy")
@entry("d_config")
def _(desk):
    codes(desk, high=20); desk.write("c.yaml", "codebook_size: 16\n")
    return desk.kinetoken("diagnose", "codes.npy", "--config", "c.yaml")
@entry("d_csv")
def _(desk):
    desk.write("codes.csv", "a,b\n1,2\n")
    return desk.kinetoken("diagnose", "codes.csv")
@entry("d_exists")
def _(desk):
    codes(desk); desk.write("report/x.txt", "")
    return desk.kinetoken("diagnose", "codes.npy", "--out", "report")
@entry("d_one")
def _(desk):
    codes(desk, (1, 4, 8, 8)); return desk.kinetoken("diagnose", "codes.npy")
@entry("d_library")
def _(desk):
    codes(desk); return desk.kinetoken("diagnose", "codes.npy", "--library", "jax")
@entry("d_option")
def _(desk):
    codes(desk); return desk.kinetoken("diagnose", "codes.npy", "--label", "x")
@entry("d_flat")
def _(desk):
    codes(desk, (40, 250)); np.save("clips.npy", np.zeros((40, 8, 32, 32, 3), np.uint8)); return desk.kinetoken("diagnose", "codes.npy", "--clips", "clips.npy")
@entry("perm")
def _(desk):
    codes(desk)
    from kinetoken.diagnosis import api
    folder = Path(tempfile.mkdtemp()); folder.chmod(0o755)
    shutil.copy("codes.npy", folder); (folder / "codes.npy").chmod(0o644); folder.chmod(0o555)
    desk.monkeypatch.chdir(folder)
    try:
        with as_nobody():
            return desk.kinetoken("diagnose", "codes.npy", "--out", "report")
    finally:
        folder.chmod(0o755); shutil.rmtree(folder)
@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)

# examine
ADAPTER = '''
import torch
class T:
    size, frames, fps, value_range = 16, 8, 8, (0, 1)
    def encode(self, video): return (video[:, 0, ::4, ::8, ::8] * 15).round(){tail}
    def decode(self, codes): return codes[:, None].float().repeat(1, 3, 4, 8, 8) / {by}
'''
@entry("e_module")
def _(desk): return desk.kinetoken("examine", "my_modul:tokenizer", "--clips", "40")
@entry("e_attr")
def _(desk):
    desk.write("my_module_a.py", "x = 1\n"); return desk.kinetoken("examine", "my_module_a:tokenizer", "--clips", "40")
@entry("e_spec")
def _(desk): return desk.kinetoken("examine", "my_module", "--clips", "40")
@entry("e_float")
def _(desk):
    desk.write("my_module_b.py", ADAPTER.format(tail="", by=15)); return desk.kinetoken("examine", "my_module_b:T", "--clips", "40")
@entry("e_rangev")
def _(desk):
    desk.write("my_module_c.py", ADAPTER.format(tail=".long()", by=0.1)); return desk.kinetoken("examine", "my_module_c:T", "--clips", "40")
@entry("e_fact")
def _(desk):
    desk.write("my_module_d.py", ADAPTER.format(tail=".long()", by=15).replace("size, frames, fps, value_range = 16, 8, 8, (0, 1)", "size, frames, fps = 16, 8, 8")); return desk.kinetoken("examine", "my_module_d:T", "--clips", "40")
@entry("e_raise")
def _(desk):
    desk.write("my_module_e.py", ADAPTER.format(tail=".long()", by=15).replace("video[:, 0,", "video[:, 0, 0,")); return desk.kinetoken("examine", "my_module_e:T", "--clips", "40")
@entry("e_clips")
def _(desk):
    desk.write("my_module_f.py", ADAPTER.format(tail=".long()", by=15)); return desk.kinetoken("examine", "my_module_f:T", "--clips", "20")
@entry("e_folder")
def _(desk):
    (desk.folder / "vq").mkdir(); return desk.kinetoken("examine", "vq", "--clips", "40")
@entry("e_size")
def _(desk):
    desk.write("my_module_g.py", ADAPTER.format(tail=".long()", by=15).replace("::4, ::8, ::8", "::4, ::8, :4:8")); return desk.kinetoken("examine", "my_module_g:T", "--clips", "40")
@entry("e_cards")
def _(desk): return desk.kinetoken("compare-cards", "card_a", "card_b")

# inference
def clips(shape=(2, 16, 64, 64, 3), dtype=np.uint8, high=255):
    np.save("clips.npy", (np.random.default_rng(0).random(shape) * high).astype(dtype))
@entry("i_nomodel")
def _(desk):
    clips(); return desk.kinetoken("classify", "clips.npy")
@entry("i_kind")
def _(desk):
    clips(); return desk.kinetoken("classify", "clips.npy", "--model", str(desk.coded / "tokenizer"))
@entry("i_size")
def _(desk):
    clips((2, 16, 48, 64, 3)); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_frames")
def _(desk):
    clips((2, 18, 64, 64, 3)); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_ending")
def _(desk):
    clips(); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.csv")
@entry("i_exists")
def _(desk):
    clips(); desk.write("codes.parquet", ""); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_shape")
def _(desk):
    clips((2, 3, 16, 64, 64)); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_values")
def _(desk):
    clips(dtype=np.float32); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_video")
def _(desk):
    desk.write("ball.mp4", "nothing"); return desk.kinetoken("tokenize", "ball.mp4", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_device")
def _(desk):
    clips(); return desk.kinetoken("tokenize", "clips.npy", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet", "--device", "cuda")
@entry("i_cut")
def _(desk):
    clips(); shutil.copytree(desk.coded / "tokenizer", "tokenizer"); os.truncate("tokenizer/model.safetensors", 1000); return desk.kinetoken("tokenize", "clips.npy", "--model", "tokenizer", "--out", "codes.parquet")
@entry("i_folder")
def _(desk):
    (desk.folder / "videos").mkdir(); return desk.kinetoken("tokenize", "videos", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")
@entry("i_codes")
def _(desk):
    clips(); return desk.kinetoken("reconstruct", str(desk.coded / "codes.parquet"), "--model", str(desk.coded / "tokenizer"), "--out", "x.webm")
@entry("i_split")
def _(desk):
    clips(); return desk.kinetoken("tokenize", "clips.npy", "--split", "test", "--model", str(desk.coded / "tokenizer"), "--out", "codes.parquet")

# tools
@entry("verify_nowhere")
def _(desk): return desk.run("tools.verify")
@entry("smoke_exists")
def _(desk):
    desk.write(".smoke/x", ""); return desk.run("tools.smoke")
@entry("study")
def _(desk): return desk.run("tools.studies", "run", "seed")
@entry("cuda_stage")
def _(desk):
    desk.edit_params("accelerator: auto", "accelerator: cuda")
    return desk.stage("extract_codes", "--section", "extract_codes.motion", "--tokenizer", str(desk.coded / "tokenizer"), "--videos", str(desk.coded / "videos"))

@pytest.mark.parametrize("heading", PRODUCERS)
def test_probe(heading: str, desk: Desk) -> None:
    try:
        out = PRODUCERS[heading](desk)
    except BaseException as e:
        import traceback
        out = "RAISED " + "".join(traceback.format_exception(e)[-3:])
    with open("/tmp/trouble-probe/out.txt", "a") as f:
        f.write(f"=== {heading}\n{out.rstrip()[-1800:]}\n")
