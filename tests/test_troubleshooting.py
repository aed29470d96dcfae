"""docs/troubleshooting.md: each message on it is produced here, by the command that prints it.

An entry is a heading of the third level; its first block, `text`, is the message. The function below that bears the
same heading causes it with tiny inputs and returns all that was printed, in which the block must occur. Before they are
compared, `usual` writes in one way what differs from run to run: the folder, process numbers, the port of a local
server, the mount point of temporary files.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from kinetoken.cli import app
from kinetoken.scenes.motion import Trajectories, draw_tracks
from tests.support.llm_server import BEHAVIOURS, LlmServer
from tests.support.readings import Reader, lay_out, read_with

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
NOBODY = 65534
MOTION = ("--section", "generate_trajectories.motion")
REPRO = "repro --single-item generate_trajectories@motion"
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the message of a machine without a GPU")


# --- the page --------------------------------------------------------------------------------------------------------

def entries() -> dict[str, str]:
    """Heading to message, in the order of the page."""
    _, *parts = HEADING.split(PAGE)
    found = {}
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        block = re.match(r"\n+```text\n(.+?)\n```\n\n\S", text, re.DOTALL)
        assert block, f"{heading}: a block ```text and a sentence must follow the heading"
        assert heading not in found, heading
        found[heading] = block[1]
    return found


def usual(text: str, folder: Path | None = None) -> str:
    """What differs from run to run, written as on the page."""
    if folder is not None:
        text = text.replace(str(folder), "/home/you/kinetoken")
    text = re.sub(r"(process |PID )\d+", r"\g<1>4711", text)
    text = re.sub(r"(127\.0\.0\.1:)\d+", r"\g<1>8000", text)
    return re.sub(r"mount point '[^']+'", "mount point '/'", text)


# --- someone at a terminal -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Desk:
    """A current folder with params.yaml in it, and what may be typed there."""

    folder: Path
    coded: Path  # with tokenizer/ and codes.parquet; read only
    given: pytest.FixtureRequest
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def python(self, module: str, *words: str) -> str:
        """What `python -m MODULE WORDS` prints, run in this process."""
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", [module, *words])
        before = signal.getsignal(signal.SIGTERM)
        try:
            import_module(module).main()
            raised = ""
        except Exception:
            raised = traceback.format_exc()  # as the interpreter would print it
        finally:
            signal.signal(signal.SIGTERM, before)
        return "".join(self.capsys.readouterr()) + raised

    def stage(self, name: str, *words: str) -> str:
        return self.python(f"stages.{name}", *words)

    def kinetoken(self, *words: str) -> str:
        return str(CliRunner().invoke(app, words, prog_name="kinetoken").output)

    def shell(self, *words: str, **environment: str) -> str:
        """What another program prints."""
        done = subprocess.run(
            words, cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
        )
        return done.stdout + done.stderr

    def dvc(self, line: str) -> str:
        said: dict[str, str] = self.given.getfixturevalue("dvc_said")
        return said[line]

    def write(self, name: str, text: str = "") -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def link_tokenizer(self) -> None:
        """An untrained tokenizer in the place of the trained one."""
        (self.folder / "models").mkdir()
        (self.folder / "models/tokenizer").symlink_to(self.coded / "tokenizer")

    def edit_params(self, before: str, after: str) -> None:
        edit_params(self.folder, before, after)


def edit_params(folder: Path, before: str, after: str) -> None:
    """params.yaml of the repository, with its first `before` replaced, in the folder."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert before in text, before
    (folder / "params.yaml").write_text(text.replace(before, after, 1), encoding="utf-8")


@pytest.fixture
def desk(
    tmp_path: Path, coded: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path, coded, request, monkeypatch, capsys)


def commit_all(folder: Path) -> None:
    """A git repository of all that is in the folder."""
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "copy")):
        subprocess.run(["git", "-c", "user.name=you", "-c", "user.email=you@localhost", *words], cwd=folder, check=True)


Produce = Callable[[Desk], str]
PRODUCERS: dict[str, Produce] = {}
MARKS: dict[str, Sequence[pytest.MarkDecorator]] = {}


def entry(heading: str, *marks: pytest.MarkDecorator) -> Callable[[Produce], Produce]:
    """The function produces the message of this entry."""

    def add(produce: Produce) -> Produce:
        assert heading not in PRODUCERS, heading
        PRODUCERS[heading], MARKS[heading] = produce, marks
        return produce

    return add


# --- setup -----------------------------------------------------------------------------------------------------------

@entry("No suitable Python")
def _(desk: Desk) -> str:
    shutil.copy(ROOT / "Makefile", desk.folder)
    desk.write("requirements.txt")
    return desk.shell("make", "setup", "PYTHON=python3.9")


@entry("The command is not found")
def _(desk: Desk) -> str:
    return desk.shell("bash", "-c", "kinetoken diagnose codes.npz", PATH="/usr/bin:/bin")


@entry("Another Python than that of .venv")
def _(desk: Desk) -> str:
    return desk.shell(sys.executable, "-S", "-m", "stages.train_classifier", PYTHONPATH=str(ROOT))


@entry("A package is not installed")
def _(desk: Desk) -> str:
    desk.monkeypatch.setitem(sys.modules, "h5py", None)
    desk.write("codes.h5", "\x89HDF\r\n")
    return desk.kinetoken("diagnose", "codes.h5")


@entry("Outside of a checkout")
def _(desk: Desk) -> str:
    return desk.kinetoken("run")


# --- the pipeline ----------------------------------------------------------------------------------------------------

@entry("A stage fails")
def _(desk: Desk) -> str:
    return desk.dvc(f"project {REPRO}")


@entry("An input is missing, for DVC")
def _(desk: Desk) -> str:
    return desk.dvc(f"absent {REPRO}")


@entry("An input is missing, for a stage alone")
def _(desk: Desk) -> str:
    return desk.stage("extract_codes", "--section", "extract_codes.motion")


@entry("There is nothing to pull")
def _(desk: Desk) -> str:
    return desk.dvc("project pull")


@entry("Outside of the repository")
def _(desk: Desk) -> str:
    return desk.dvc(". status")


@entry("A parameter that DVC does not find")
def _(desk: Desk) -> str:
    return desk.dvc("project exp run -S train_classifier.epoch=4")


# --- interrupted and parallel runs -----------------------------------------------------------------------------------

@entry("The same stage runs already")
def _(desk: Desk) -> str:
    desk.write("run_info/render_videos_motion/lock", "4711")
    desk.monkeypatch.setattr("kinetoken.core.stage._alive", lambda process: True)
    with open("run_info/render_videos_motion/lock", "a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return desk.stage("render_videos", "--section", "render_videos.motion")


@entry("Another DVC command works on the same files")
def _(desk: Desk) -> str:
    return desk.dvc(f"busy {REPRO}")


@entry("Another DVC command holds the lock")
def _(desk: Desk) -> str:
    return desk.dvc("locked status")


def interrupted_by(desk: Desk, number: signal.Signals) -> str:
    """A stage that gets the signal while it works."""
    from stages import generate_trajectories

    desk.write("data/sources/synthetic.csv")
    desk.monkeypatch.setattr(generate_trajectories, "draw_tracks", lambda params: os.kill(os.getpid(), number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a shell runs behind it
    try:
        return desk.stage("generate_trajectories", *MOTION, "--source", "data/sources/synthetic.csv")
    finally:
        signal.signal(signal.SIGINT, before)


@entry("Interrupted with Ctrl-C")
def _(desk: Desk) -> str:
    return interrupted_by(desk, signal.SIGINT)


@entry("Stopped from outside")
def _(desk: Desk) -> str:
    return interrupted_by(desk, signal.SIGTERM)


# --- params ----------------------------------------------------------------------------------------------------------

@entry("Unknown parameter")
def _(desk: Desk) -> str:
    desk.edit_params("clips: 480  #", "clip: 480  #")
    return desk.stage("read_motion")


@entry("Missing parameter")
def _(desk: Desk) -> str:
    desk.edit_params("extract_codes:\n  motion:\n    batch_size: 16", "extract_codes:\n  motion: {}")
    return desk.stage("extract_codes", "--section", "extract_codes.motion")


@entry("The section of a dataset is not named")
def _(desk: Desk) -> str:
    return desk.stage("extract_codes")


@entry("A number that YAML reads as text")
def _(desk: Desk) -> str:
    desk.edit_params("learning_rate: 0.002", "learning_rate: 2e-3")
    return desk.stage("train_tokenizer")


@entry("A number out of its range")
def _(desk: Desk) -> str:
    desk.edit_params("threads: 2", "threads: 0")
    return desk.stage("train_tokenizer")


@entry("params.yaml is not valid YAML")
def _(desk: Desk) -> str:
    desk.edit_params("  threads: 2", "\tthreads: 2")
    return desk.stage("train_tokenizer")


@entry("No such profile")
def _(desk: Desk) -> str:
    return desk.python("kinetoken.core.params", "overlay", "profiles/gpus.yaml")


@entry("A profile with an unknown section")
def _(desk: Desk) -> str:
    desk.write("profiles/mine.yaml", "train_clasifier: {epochs: 3}\n")
    return desk.python("kinetoken.core.params", "overlay", "profiles/mine.yaml")


# --- own tracks ------------------------------------------------------------------------------------------------------

def tracks(count: int = 96, frames: int = 16, **changes: Any) -> pd.DataFrame:
    """Tracks of two classes that the pipeline reads as they stand, with some columns changed."""
    track, frame = np.repeat(np.arange(count), frames), np.tile(np.arange(frames), count)
    way = np.where(track % 2, 0.02, -0.02)
    table = {"track_id": track, "class": np.array(["left", "right"])[track % 2], "frame": frame, "x": way * frame}
    return pd.DataFrame({**table, "y": 0.0, "z": 3.0, **changes})


def read_tracks(desk: Desk, table: pd.DataFrame) -> str:
    table.to_csv("my_tracks.csv", index=False)
    return desk.stage("generate_trajectories", *MOTION, "--source", "my_tracks.csv")


@entry("A column is missing")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks().rename(columns={"z": "depth"}))


@entry("A frame is missing")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks().drop(index=[20]))


@entry("A value is missing")
def _(desk: Desk) -> str:
    table = tracks()
    table.loc[20, "x"] = np.nan
    return read_tracks(desk, table)


@entry("Tracks of different lengths")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks().drop(index=[47]))


@entry("A number of frames that is no multiple of 4")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks(frames=15))


@entry("Tracks that the camera never sees")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks(x=400.0))


@entry("Tracks in pixels")
def _(desk: Desk) -> str:
    desk.edit_params("unit: m  #", "unit: px  #")
    return read_tracks(desk, tracks())


@entry("Too few tracks")
def _(desk: Desk) -> str:
    return read_tracks(desk, tracks(count=3))


@entry("Your tracks as the dataset of early decisions")
def _(desk: Desk) -> str:
    tracks().to_csv("my_tracks.csv")
    return desk.stage("generate_trajectories", "--section", "generate_trajectories.persistence",
                      "--source", "my_tracks.csv")


# --- own videos ------------------------------------------------------------------------------------------------------

def make_videos(desk: Desk, count: int = 5, frames: int = 16) -> None:
    """As many videos of each of two classes, each a file .npy."""
    for name in (f"{kind}/{number}.npy" for kind in ("left", "right") for number in range(count)):
        (desk.folder / "my_videos" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(desk.folder / "my_videos" / name, np.full((frames, 64, 64, 3), 100, np.uint8))


def read_videos(desk: Desk) -> str:
    """What the two first stages print."""
    said = desk.stage("generate_trajectories", *MOTION, "--source", "my_videos")
    return said + desk.stage("render_videos", "--section", "render_videos.motion", "--source", "my_videos")


@entry("Not measured")
def _(desk: Desk) -> str:
    make_videos(desk)
    return read_videos(desk)


@entry("No videos in the folder")
def _(desk: Desk) -> str:
    desk.write("my_videos/notes.txt")
    return read_videos(desk)


@entry("A file is no whole video")
def _(desk: Desk) -> str:
    make_videos(desk)
    desk.write("my_videos/left/5.mp4", "no video")
    return read_videos(desk)


@entry("A video is shorter than a clip")
def _(desk: Desk) -> str:
    make_videos(desk, frames=12)
    return read_videos(desk)


@entry("Too few videos of a class")
def _(desk: Desk) -> str:
    make_videos(desk, count=3)
    return read_videos(desk)


@entry("Labels without a video")
def _(desk: Desk) -> str:
    make_videos(desk)
    desk.write("my_videos/labels.csv", "video,class\nball_1.mp4,left\n")
    return read_videos(desk)


@entry("Videos without a label")
def _(desk: Desk) -> str:
    make_videos(desk)
    desk.write("my_videos/labels.csv", "video,class\nleft/0.npy,left\n")
    return read_videos(desk)


# --- the doctor ------------------------------------------------------------------------------------------------------

def diagnose(*words: str, shape: tuple[int, ...] = (40, 4, 8, 8), **labels: Any) -> str:
    """What `kinetoken diagnose` prints of random codes; with columns of labels, of these too."""
    np.save("codes.npy", np.random.default_rng(0).integers(0, 20, shape))
    if labels:
        pd.DataFrame(labels).to_csv("labels.csv", index=False)
        words = (*words, "--labels", "labels.csv")
    return str(CliRunner().invoke(app, ["diagnose", "codes.npy", *words], prog_name="kinetoken").output)


@entry("Several layouts fit")
def _(desk: Desk) -> str:
    return diagnose(shape=(40, 4, 8, 8, 8))


@entry("No array of codes by name")
def _(desk: Desk) -> str:
    np.savez("codes.npz", a=np.zeros((4, 4)), b=np.zeros((4, 4)))
    return desk.kinetoken("diagnose", "codes.npz")


@entry("The file holds pickled objects")
def _(desk: Desk) -> str:
    np.save("codes.npy", np.array([{"codes": 1}], object))
    return desk.kinetoken("diagnose", "codes.npy")


@entry("A code outside the codebook")
def _(desk: Desk) -> str:
    desk.write("config.yaml", "codebook_size: 16\n")
    return diagnose("--config", "config.yaml")


@entry("Labels for another number of clips")
def _(desk: Desk) -> str:
    return diagnose(label=["left", "right"] * 19)


@entry("No column of labels")
def _(desk: Desk) -> str:
    return diagnose(kind=["left", "right"] * 20)


@entry("Each clip has a label of its own")
def _(desk: Desk) -> str:
    return diagnose(label=range(40))


@entry("Clips on another range")
def _(desk: Desk) -> str:
    np.save("clips.npy", np.linspace(-2, 2, 40 * 8 * 32 * 32 * 3).reshape(40, 8, 32, 32, 3).astype(np.float32))
    return diagnose("--clips", "clips.npy")


@entry("The folder of the report is in use")
def _(desk: Desk) -> str:
    desk.write("report/notes.txt")
    return diagnose("--out", "report")


# --- examine ---------------------------------------------------------------------------------------------------------

ADAPTER = """
class Tokenizer:
    size, frames, fps, value_range = 16, 8, 8, (0, 1)

    def encode(self, video):
        return (video[:, 0, ::4, ::8, ::8] * 15).round().long()

    def decode(self, codes):
        return codes[:, None].float().repeat(1, 3, 4, 8, 8) / 15
"""


def examine(desk: Desk, before: str = "", after: str = "", attribute: str = "Tokenizer") -> str:
    """What `kinetoken examine` prints of the adapter, with something in it replaced."""
    assert before in ADAPTER
    desk.monkeypatch.delitem(sys.modules, "my_module", raising=False)
    desk.write("my_module.py", ADAPTER.replace(before, after))
    invalidate_caches()
    return desk.kinetoken("examine", f"my_module:{attribute}", "--clips", "40", "--quiet")


@entry("The module of the adapter is not found")
def _(desk: Desk) -> str:
    return desk.kinetoken("examine", "my_tokenizer:Tokenizer")


@entry("The module has no such name")
def _(desk: Desk) -> str:
    return examine(desk, attribute="tokenizer")


@entry("A fact is missing")
def _(desk: Desk) -> str:
    return examine(desk, "fps, value_range = 16, 8, 8, (0, 1)", "fps = 16, 8, 8")


@entry("encode returns numbers with fractions")
def _(desk: Desk) -> str:
    return examine(desk, ".long()")


@entry("decode returns another range")
def _(desk: Desk) -> str:
    return examine(desk, "/ 15", "* 17")


@entry("A method of the adapter raises")
def _(desk: Desk) -> str:
    return examine(desk, "video[:, 0,", "video[:, 0, 0,")


@entry("A folder that is no tokenizer")
def _(desk: Desk) -> str:
    (desk.folder / "vq").mkdir()
    return desk.kinetoken("examine", "vq")


# --- inference -------------------------------------------------------------------------------------------------------

def tokenize(desk: Desk, *words: str, shape: tuple[int, ...] = (2, 16, 64, 64, 3), out: str = "codes.parquet") -> str:
    """What `kinetoken tokenize` prints of grey clips."""
    np.save("clips.npy", np.full(shape, 100, np.uint8))
    desk.link_tokenizer()
    return desk.kinetoken("tokenize", "clips.npy", "--out", out, *words)


@entry("The model is not there")
def _(desk: Desk) -> str:
    np.save("clips.npy", np.zeros((2, 16, 64, 64, 3), np.uint8))
    return desk.kinetoken("classify", "clips.npy")


@entry("A model of another kind")
def _(desk: Desk) -> str:
    np.save("clips.npy", np.zeros((2, 16, 64, 64, 3), np.uint8))
    desk.link_tokenizer()
    return desk.kinetoken("classify", "clips.npy", "--model", "models/tokenizer")


@entry("Clips of another size")
def _(desk: Desk) -> str:
    return tokenize(desk, shape=(2, 16, 48, 64, 3))


@entry("Clips of another length")
def _(desk: Desk) -> str:
    return tokenize(desk, shape=(2, 18, 64, 64, 3))


@entry("The axes of the array are in another order")
def _(desk: Desk) -> str:
    return tokenize(desk, shape=(2, 3, 16, 64, 64))


@entry("A video cannot be read")
def _(desk: Desk) -> str:
    desk.write("ball.mp4", "no video")
    desk.link_tokenizer()
    return desk.kinetoken("tokenize", "ball.mp4", "--out", "codes.parquet")


@entry("An output with another ending")
def _(desk: Desk) -> str:
    return tokenize(desk, out="codes.csv")


@entry("The output exists")
def _(desk: Desk) -> str:
    desk.write("codes.parquet")
    return tokenize(desk)


# --- language model --------------------------------------------------------------------------------------------------

def describe(desk: Desk, behaviour: str = "", **changes: str) -> str:
    """What `describe_motion` prints with provider openai, a local server behaving so; `changes` of language_model."""
    params: Trajectories = desk.given.getfixturevalue("trajectory_params")
    drawn = draw_tracks(params)
    lay_out(desk.folder, drawn)
    read_with(Reader(drawn, 0.0), desk.folder, desk.monkeypatch)
    text = (desk.folder / "params.yaml").read_text(encoding="utf-8").replace("provider: offline", "provider: openai")
    for name, value in changes.items():
        text = re.sub(rf"(?m)^(    {name}: )[\w.-]+", rf"\g<1>{value}", text)
    desk.write("params.yaml", text)
    given = (f"--{name}={path}" for name, path in (
        ("readings", "readings.parquet"), ("trajectories", "trajectories.parquet"),
        ("track-params", "track_params.parquet"), ("records", "records.jsonl"),
    ))
    if not behaviour:
        return desk.stage("describe_motion", *given)
    with LlmServer(lambda body, nth: BEHAVIOURS[behaviour]) as server:
        desk.monkeypatch.setenv("OPENAI_API_KEY", "sk-test/0123456789+abcdef")
        desk.monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        return desk.stage("describe_motion", *given)


@entry("No key")
def _(desk: Desk) -> str:
    return describe(desk)


@entry("A key that the server does not know")
def _(desk: Desk) -> str:
    return describe(desk, "401")


@entry("A model that the server does not know")
def _(desk: Desk) -> str:
    return describe(desk, "404")


@entry("A model without a price")
def _(desk: Desk) -> str:
    return describe(desk, model="gpt-4")


@entry("The spend cap is reached")
def _(desk: Desk) -> str:
    return describe(desk, "good", spend_cap="0.001")


@entry("Replay without a ledger")
def _(desk: Desk) -> str:
    return describe(desk, mode="replay")


# --- GPU -------------------------------------------------------------------------------------------------------------

@entry("No GPU, for the command", needs_no_gpu)
def _(desk: Desk) -> str:
    return tokenize(desk, "--device", "cuda")


@entry("No GPU, for a stage", needs_no_gpu)
def _(desk: Desk) -> str:
    desk.edit_params("accelerator: auto", "accelerator: cuda")
    videos: Path = desk.given.getfixturevalue("tiny_data")
    desk.link_tokenizer()
    return desk.stage("extract_codes", "--section", "extract_codes.motion", "--videos", str(videos / "videos"))


# --- disk and permissions --------------------------------------------------------------------------------------------

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


@entry("A folder that may not be written to")
def _(desk: Desk) -> str:
    np.save("codes.npy", np.zeros((40, 4, 8, 8), np.int64))
    import_module("kinetoken.diagnosis.api")  # while its files may be read
    folder = Path(tempfile.mkdtemp())
    shutil.move("codes.npy", folder)
    (folder / "codes.npy").chmod(0o644)
    folder.chmod(0o555)
    desk.monkeypatch.chdir(folder)
    try:
        with as_nobody():
            return desk.kinetoken("diagnose", "codes.npy", "--out", "report")
    finally:
        desk.monkeypatch.chdir(desk.folder)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@entry("The disk is full")
def _(desk: Desk) -> str:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    desk.write("data/sources/synthetic.csv")
    desk.monkeypatch.setattr("stages.generate_trajectories.write_tracks", full)
    return desk.stage("generate_trajectories", *MOTION, "--source", "data/sources/synthetic.csv")


@entry("A model file is cut off")
def _(desk: Desk) -> str:
    shutil.copytree(desk.coded / "tokenizer", "models/tokenizer")
    os.truncate("models/tokenizer/model.safetensors", 1000)
    np.save("clips.npy", np.zeros((2, 16, 64, 64, 3), np.uint8))
    return desk.kinetoken("tokenize", "clips.npy", "--out", "codes.parquet")


@entry("Damaged files")
def _(desk: Desk) -> str:
    return desk.dvc("project verify")


# --- tests and tools -------------------------------------------------------------------------------------------------

@entry("The folder of make smoke is in use")
def _(desk: Desk) -> str:
    desk.write(".smoke/notes.txt")
    return desk.python("tools.smoke")


@entry("Tests changed results")
def _(desk: Desk) -> str:
    from tests import conftest

    desk.write("metrics/train_classifier.json", "{}")
    commit_all(desk.folder)
    desk.write("metrics/train_classifier.json", "{} ")
    desk.monkeypatch.setattr(conftest, "ROOT", desk.folder)
    desk.capsys.readouterr()
    session: Any = SimpleNamespace(config=SimpleNamespace(stash={conftest.BEFORE: ""}), exitstatus=0)
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    return desk.capsys.readouterr().out


# --- DVC -------------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys
from dvc.cli import main
from tools.verify import main as verify
top = os.getcwd()
for line in sys.stdin.read().splitlines():
    folder, *words = line.split()
    print("$", line, flush=True)
    os.chdir(os.path.join(top, folder))
    verify([]) if words == ["verify"] else main(words)
    sys.stdout.flush()
"""
LINES = (
    f"project {REPRO}", f"absent {REPRO}", f"busy {REPRO}", "locked status", ". status", "project pull",
    "project exp run -S train_classifier.epoch=4", "project verify",
)


@pytest.fixture(scope="module")
def dvc_said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What DVC prints of each of LINES, in small copies of the repository; one process for all, as it starts slowly."""
    top = tmp_path_factory.mktemp("dvc")
    for name in ("project", "absent", "busy", "locked"):
        _copy_repository(top / name)
    tracks().drop(index=[20]).to_csv(top / "project/data/sources/my_tracks.csv", index=False)
    _damage(top / "project")
    busy = top / "busy/data/motion/trajectories.parquet"
    held = {"write": {str(busy): {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    (top / "busy/data/sources/my_tracks.csv").write_text("x")
    (top / "busy/.dvc/tmp").mkdir()
    (top / "busy/.dvc/tmp/rwlock").write_text(json.dumps(held))
    (top / "locked/.dvc/tmp").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(top / "site"), "GIT_CEILING_DIRECTORIES": str(top),
    }
    with (top / "locked/.dvc/tmp/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=top, env=environment, input="\n".join(LINES), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        )
    parts = re.split(r"^\$ (.+)\n", done.stdout, flags=re.MULTILINE)
    for name in ("project", "absent", "busy", "locked"):
        parts = [part.replace(str(top / name), "/home/you/kinetoken") for part in parts]
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _copy_repository(folder: Path) -> None:
    """The pipeline without its code, with a source of one's own, committed."""
    (folder / ".dvc").mkdir(parents=True)
    shutil.copytree(ROOT / "code", folder / "code")
    (folder / "data/sources").mkdir(parents=True)
    for name in ("dvc.yaml", "dvc.lock", ".dvc/config", ".dvc/.gitignore", "data/sources/synthetic.csv"):
        shutil.copy(ROOT / name, folder / name)
    edit_params(folder, "source: data/sources/synthetic.csv", "source: data/sources/my_tracks.csv")
    commit_all(folder)


def _damage(folder: Path) -> None:
    """An object of DVC's cache whose content is not what its name says."""
    (folder / ".dvc/cache/files/md5/d4").mkdir(parents=True)
    (folder / ".dvc/cache/files/md5/d4/1d8cd98f00b204e9800998ecf8427e").write_text("no longer empty")


# --- what is held ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("heading", [pytest.param(name, marks=MARKS[name]) for name in PRODUCERS])
def test_the_message_is_what_is_printed(heading: str, desk: Desk) -> None:
    said = usual(PRODUCERS[heading](desk), desk.folder)
    assert usual(entries()[heading]) in said


def test_every_entry_has_its_test_and_every_test_its_entry() -> None:
    assert list(entries()) == list(PRODUCERS)
    assert len(PRODUCERS) >= 20


def test_the_contents_lead_to_every_entry_by_the_words_of_its_message() -> None:
    """`- [`words of the message`](#heading)`: the words stand in the message, the headings are all there, in order."""
    listed = re.findall(r"^- \[`(.+)`\]\(#([\w-]+)\)$", PAGE, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in entries()]
    assert [slug for _, slug in listed] == slugs
    for (words, _), message in zip(listed, entries().values(), strict=True):
        assert words in message
