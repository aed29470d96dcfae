"""Arrays, videos and label files: any bytes end in a result or a sentence; pipes, devices and pickles are not read."""

import ast
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinetoken.core.errors import UserError
from kinetoken.diagnosis.columns import load_arrays
from kinetoken.diagnosis.history import read_curves
from kinetoken.diagnosis.labels import read_labels
from kinetoken.footage.folder import FootageParams, find_videos, read_clips
from kinetoken.footage.streaming import read_head, stream_frames
from kinetoken.footage.webm import VideoFault, probe, read_frames, write_webm
from kinetoken.footage.windows import ClipNeed
from kinetoken.inference.coding import open_any
from kinetoken.inference.opening import open_clips
from tests.fuzz.mutations import damaged, quick, reads
from tests.support.hostile import Evil, npy_header, npz_of

ROOT = Path(__file__).parents[2]
NEED = ClipNeed("the test", 16, 8)
CLIP = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3)).astype(np.uint8)


def write_all(folder: Path) -> None:
    write_webm(folder / "clip.webm", CLIP, 16)
    np.save(folder / "clip.npy", CLIP)
    np.savez_compressed(folder / "clip.npz", clips=CLIP[None], label=np.array(["a"]))
    torch.save({"clips": torch.from_numpy(CLIP)[None], "label": [1]}, folder / "clip.pt")
    (folder / "labels.csv").write_text("video,class\nclip.webm,a\n")
    (folder / "curve.csv").write_text("epoch,val_loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(9)))


def decoded(path: Path) -> None:
    """Every way of reading a video file."""
    try:
        read_head(path)
        for _ in stream_frames(path, 3):
            pass
        probe(path)
        read_frames(path, None)
    except VideoFault as fault:
        raise UserError(f"{path}: {fault.reason}: {fault}") from None


def clips(path: Path) -> None:
    for _ in open_clips(path, resize=True, window="all").blocks(NEED):
        pass


def folder_of_videos(path: Path) -> None:
    params = FootageParams(frames=8)
    for video in find_videos(path.parent, params):
        for _ in read_clips(video, params, 16, []):
            pass


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a video": ("clip.webm", decoded), "clips of a video": ("clip.webm", clips), "clips of NPY": ("clip.npy", clips),
    "clips of NPZ": ("clip.npz", clips), "arrays of NPZ": ("clip.npz", load_arrays),
    "arrays of PyTorch": ("clip.pt", load_arrays), "labels": ("labels.csv", folder_of_videos),
    "labels of codes": ("labels.csv", lambda path: read_labels(path, 1)), "a curve": ("curve.csv", read_curves),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_all(folder)
    return folder


@pytest.mark.parametrize("kind", READERS)
@quick
@given(data=st.data())
def test_any_bytes(kind: str, sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    name, read = READERS[kind]
    (tmp_path / name).write_bytes(data.draw(damaged((sound / name).read_bytes())))
    reads(lambda: read(tmp_path / name))


HEADS = {
    "2^62 rows": "(4611686018427387904, 4, 4, 3)", "a negative size": "(-4, 4, 4, 3)", "no size": "()",
    "10^10 values": "(10000000000,)", "10^12 empty rows": "(1000000000000, 0, 1, 3)",
    "2^64 in all": "(65536, 65536, 65536, 65536, 3)",
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("read", [clips, load_arrays])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_an_array_that_names_a_huge_size(
    head: str, read: Callable[[Path], object], ending: str, tmp_path: Path
) -> None:
    content = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {HEADS[head]}, }}") + bytes(64)
    path = tmp_path / f"clip{ending}"
    path.write_bytes(content if ending == ".npy" else npz_of("clips.npy", content))
    reads(lambda: read(path))


def test_a_webm_of_an_unknown_codec_and_one_of_huge_frames(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    path.write_bytes((sound / "clip.webm").read_bytes().replace(b"V_VP9", b"V_QQQ"))
    assert "codec" in str(reads(lambda: decoded(path)))
    path.write_bytes((sound / "clip.webm").read_bytes().replace(b"\xb0\x81\x10", b"\xb0\x81\xff"))
    reads(lambda: decoded(path))


ENDINGS = (".csv", ".tsv", ".parquet", ".webm", ".mp4", ".gif", ".npy", ".npz", ".pt", ".safetensors", ".h5", ".tar")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(ending: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{ending}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert reads(lambda: clips(path)) is not None
    assert reads(lambda: open_any(str(path))) is not None or ending in (".webm", ".mp4", ".gif")
    for read in (load_arrays, read_curves, lambda path: read_labels(path, 1)):
        assert reads(lambda read=read: read(path)) is not None or kind == "folder" or read is not load_arrays
    if ending in (".webm", ".mp4", ".gif"):
        assert reads(lambda: decoded(path)) is not None


# ---- nothing is unpickled


def test_a_pickle_is_refused_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    sink = io.BytesIO()
    np.save(sink, np.array([Evil()], object), allow_pickle=True)
    (folder / "a.npy").write_bytes(sink.getvalue())
    (folder / "a.npz").write_bytes(npz_of("clips.npy", sink.getvalue()))
    (folder / "b.npy").write_bytes(pickle.dumps(Evil()))
    torch.save({"clips": Evil()}, folder / "a.pt")
    (folder / "b.pt").write_bytes(pickle.dumps(Evil()))
    for path in folder.iterdir():
        for read in (load_arrays, clips):
            assert reads(lambda path=path, read=read: read(path)) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


UNPICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"read_pickle", "unsafe_load", "full_load", "UnsafeLoader", "FullLoader"}


def test_no_code_unpickles() -> None:
    """By its imports and calls; `np.load` says allow_pickle=False, `torch.load` weights_only=True."""
    for path in (path for top in ("kinetoken", "stages", "tools") for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [each.name for each in node.names] + [getattr(node, "module", "") or ""]
                assert not {name.split(".")[0] for name in names} & UNPICKLES, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in CALLS, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "torch.load"):
                told = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert told.get("allow_pickle") == "False" or told.get("weights_only") == "True", (path, node.lineno)
