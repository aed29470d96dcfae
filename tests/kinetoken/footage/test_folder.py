"""A folder of videos: which clips there are, their classes, splits and frames; and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinetoken.core.errors import UserError
from kinetoken.core.progress import Progress
from kinetoken.footage.folder import FootageParams, SourceVideo, VideoDataset, find_videos, read_clips
from kinetoken.footage.importing import import_folder
from kinetoken.footage.webm import write_webm
from kinetoken.scenes.clips import ClipStore
from kinetoken.scenes.rendering import Look

FRAMES = FootageParams(frames=8)


def frames_of(number: int, count: int = 8, side: int = 16) -> np.ndarray:
    """(count, side, side, 3) uint8: a grey that grows with each frame, from `number`."""
    grey = (number + 3 * np.arange(count))[:, None, None, None]
    return np.broadcast_to(grey, (count, side, side, 3)).astype(np.uint8)


def save(folder: Path, *names: str, count: int = 8) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, frames_of(number, count))
    return folder


def label(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder


def test_every_kind_of_video_is_found_and_read_alike(tmp_path: Path) -> None:
    clip = frames_of(40, 12, 32)
    np.save(tmp_path / "one.npy", clip)
    np.save(tmp_path / "two.npy", np.stack([clip, clip]))
    write_webm(tmp_path / "three.webm", clip, 16.0)
    (tmp_path / "four").mkdir()
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / "four" / f"{number:03d}.png")
    Image.fromarray(clip[0]).save(
        tmp_path / "five.gif", save_all=True, append_images=[Image.fromarray(frame) for frame in clip[1:]], duration=60
    )
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    videos = find_videos(tmp_path, FRAMES)
    assert [one.name for one in videos] == ["five.gif", "four", "one.npy", "three.webm", "two.npy#0", "two.npy#1"]
    for video in videos:
        notes: list[str] = []
        (name, pixels, rate), = read_clips(video, FRAMES, 16, notes)
        assert name == f"{video.name}:0" and pixels.shape == (8, 16, 16, 3) and rate > 0
        lossy = 6 if video.path.suffix in (".webm", ".gif") else 0
        assert np.abs(pixels.astype(int) - frames_of(40)).max() <= lossy, video.name
        assert any("averaged down to 16×16" in note for note in notes)
        assert any("the last 4 frames fill no window of 8" in note for note in notes)


@pytest.mark.parametrize(("wanted", "kept"), [
    (8.0, [0, 2, 4, 6, 8, 10, 12, 14]), (32.0, [0, 0, 1, 2, 2, 2, 3, 4]), (None, list(range(8))),
])
def test_frames_nearest_in_time_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: float | None, kept: list[int]
) -> None:
    np.save(tmp_path / "a.npy", frames_of(0, 16))
    monkeypatch.setattr(
        "kinetoken.footage.folder._frames", lambda video: (16.0, iter(np.split(frames_of(0, 16), [3, 9])))
    )
    video = SourceVideo(tmp_path / "a.npy", "a.npy")
    _, pixels, rate = next(read_clips(video, FootageParams(frames=8, fps=wanted), 16, []))
    assert (pixels[:, 0, 0, 0] // 3).tolist() == kept and rate == (wanted or 16.0)


def test_classes_come_from_labels_by_any_name_that_tells_videos_apart(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", "in/b.npy", "in/c.npy", "d.npy")
    said: list[str] = []
    rows = ("a,left,train", "b.npy, right ,val", "in/c.npy,left,test", "d,right,ood", "ghost,x,test")
    label(tmp_path, "\n".join(("video,class,split", *rows)) + "\n")
    found = find_videos(tmp_path, FRAMES, said.append)
    assert {one.name: (one.label, one.split) for one in found} == {
        "a.npy": ("left", "train"), "in/b.npy": ("right", "val"), "in/c.npy": ("left", "test"),
        "d.npy": ("right", "ood"),
    }
    assert said == [f"{tmp_path / 'labels.csv'}: 1 labels are of no video in the folder, such as 'ghost'"]


def test_without_labels_subfolders_are_classes_or_there_are_none(tmp_path: Path) -> None:
    save(tmp_path / "sorted", *(f"{name}/{i}.npy" for name in ("left", "right") for i in range(10)))
    found = find_videos(tmp_path / "sorted", FRAMES)
    assert {one.label for one in found} == {"left", "right"}
    for name in ("left", "right"):
        splits = [one.split for one in found if one.label == name]
        assert {split: splits.count(split) for split in set(splits)} == {"train": 7, "val": 1, "test": 2}
    assert found == find_videos(tmp_path / "sorted", FRAMES), "the same splits each time"
    save(tmp_path / "flat", *(f"{i}.npy" for i in range(5)), "in/x.npy")
    assert {one.label for one in find_videos(tmp_path / "flat", FRAMES)} == {"unlabelled"}


def test_windows_of_one_video_are_of_one_split_and_the_store_names_them(tmp_path: Path) -> None:
    save(tmp_path / "videos", *(f"{i}.npy" for i in range(8)), count=20)
    params = VideoDataset(
        seed=1, look=Look(image_size=16, shadow=0.0), shard_clips=5, processes=1, footage=FootageParams(frames=8)
    )
    (tmp_path / "store").mkdir()
    assert import_folder(tmp_path / "videos", params, tmp_path / "store", Progress.silent()) == 16
    store = ClipStore(tmp_path / "store")
    assert store.shape == (8, 16, 16) and store.track_id.tolist() == list(range(16)) and len(store.shards) == 4
    assert (store.split[::2] == store.split[1::2]).all() and set(store.split) == {"train", "val", "test"}
    names = [name for path in store.shards for name in store._read(path, ["name"])["name"].to_pylist()]
    assert names == [f"{i}.npy:{first}" for i in range(8) for first in (0, 8)]
    assert (store.read().pixels[3] == frames_of(1, 20)[8:16]).all()


@pytest.mark.parametrize(("text", "message"), [
    ("name,class\na,x\n", "labels.csv: column 'video' is missing"),
    ("video,class\na,x\na.npy,y\n", "line 3: 'a.npy' is there twice"),
    ("video,class\na,x,y\n", "line 2: not 2 fields"),
    ("video,class\na\n", "line 2: not 2 fields"),
    ("video,class\na,\n", "line 2, column 'class': a class is 1 to 100 printable"),
    ("video,class\na,x\ty\n", "line 2, column 'class'"),
    ("video,class\nother,x\n", "no such video in the folder: 'other'"),
    ("video,class\na,x\n", "no label for 3 of 4 videos, such as 'b.npy'"),
    ("video,class,split\na,x,train\nb,x,train\nc,x,test\nd,x,holdout\n", "column 'split': 'holdout' is none of train"),
    ("video,class,split\na,x,train\nb,x,train\nc,x,test\nd,x,test\n", "split 'val' is empty"),
    ("video,class\na,x\nb,x\nc,x\nd,y\n", "class 'x' has 3 videos; 4 at least are needed"),
])
def test_labels_that_cannot_be_used_are_named(tmp_path: Path, text: str, message: str) -> None:
    label(save(tmp_path, "a.npy", "b.npy", "c.npy", "d.npy"), text)
    with pytest.raises(UserError, match=message):
        find_videos(tmp_path, FRAMES)


def damaged(folder: Path, kind: str) -> str:
    """A folder with one bad video; what the message must say."""
    if kind == "nothing":
        return "no videos in it"
    if kind == "text":
        (folder / "a.mp4").write_text("not a video")
        return "a.mp4: not a whole video"
    if kind == "truncated":
        write_webm(folder / "w.webm", frames_of(0, 40, 64), 16.0)
        whole = (folder / "w.webm").read_bytes()
        (folder / "w.webm").unlink()
        (folder / "a.webm").write_bytes(whole[: len(whole) * 2 // 3])
        return "a.webm: not a whole video"
    if kind == "short":
        np.save(folder / "a.npy", frames_of(0, 5))
        return "a.npy: 5 frames, a clip .footage.frames. reads 8"
    if kind == "floats":
        np.save(folder / "a.npy", frames_of(0).astype(np.float32))
        return "a.npy: float32 of shape"
    if kind == "pickle":
        np.save(folder / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
        return "a.npy: not a whole .npy file"
    if kind == "pipe":
        os.mkfifo(folder / "a.mp4")
        return "a.mp4: neither a file nor a folder"
    (folder / "a").mkdir()
    for number, side in enumerate((16, 16, 8)):
        Image.fromarray(frames_of(0, 1, side)[0]).save(folder / "a" / f"{number}.png")
    return "2.png: 8×8 pixels, those before have 16×16"


@pytest.mark.parametrize("kind", ["nothing", "text", "truncated", "short", "floats", "pickle", "pipe", "sizes"])
def test_what_is_no_whole_video_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    message = damaged(tmp_path, kind)
    with pytest.raises(UserError, match=message):
        found = find_videos(tmp_path, FRAMES) if kind in ("nothing", "pipe") else [
            SourceVideo(path, path.name) for path in sorted(tmp_path.iterdir())
        ]
        for video in found:
            list(read_clips(video, FRAMES, 16, []))


def test_a_slice_of_codes_divides_the_frames() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        FootageParams(frames=10)


def test_what_is_done_to_many_videos_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "videos", *(f"{i}.npy" for i in range(6)), count=10)
    save(tmp_path / "videos", *(f"{i}.npy" for i in range(3)), count=11)
    params = VideoDataset(
        seed=1, look=Look(image_size=8, shadow=0.0), shard_clips=9, processes=1, footage=FootageParams(frames=8)
    )
    (tmp_path / "store").mkdir()
    with Progress("render_videos") as progress:
        import_folder(tmp_path / "videos", params, tmp_path / "store", progress)
    said = capsys.readouterr().err
    assert "6 videos: frames of 16×16, averaged down to 8×8" in said
    assert "6 videos: the last frames fill no window of 8 and are not read" in said
