"""Files that no clip is in, as a server's clients send them by mistake or on purpose."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import av
import numpy as np

from kinetoken.scenes.clips import Pixels
from tests.support.applied import write_mp4

FTYP = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
EBML = b"\x1a\x45\xdf\xa3"


class Evil:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, ("unpickled", "w")


def hostile_files(folder: Path, clip: Pixels) -> dict[str, bytes]:
    """What a client sends, by what is wrong with it; `clip` (16, 64, 64, 3) is a sound one."""
    noise = np.random.default_rng(0).bytes(5000)
    mp4, webm = write_mp4(folder / "sound.mp4", clip).read_bytes(), webm_of(folder, clip)
    return {
        "empty": b"",
        "text called a video": b"This is no video.\n" * 50,
        "playlist of other files": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "list of other files": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "markup": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "noise": noise,
        "pickle": pickle.dumps(Evil()),
        "NPY of Python objects": npy_of(np.array([Evil()], object)),
        "NPY that names a huge array": npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': "
                                                  "(1000000, 16, 64, 64, 3), }"),
        "NPY whose head is code": npy_header("__import__('os').system('touch unpickled')"),
        "NPY of NaN": npy_of(np.full((16, 64, 64, 3), np.nan, np.float32)),
        "NPY of text": npy_of(np.full((16, 2, 2, 3), "a")),
        "NPY of one frame": npy_of(clip[:1]),
        "NPY with the colours first": npy_of(clip.transpose(0, 3, 1, 2)),
        "NPY of too many frames": npy_of(np.zeros((5000, 2, 2, 3), np.uint8)),
        "NPY of too large frames": npy_of(np.zeros((1, 5000, 1, 3), np.uint8)),
        "NPZ that expands to gigabytes": bomb(),
        "NPZ whose member leads out of the folder": npz_of("../../../escaped.npy", b"no array"),
        "NPZ that breaks off": npz_of("clips.npy", npy_of(clip))[:2000],
        "GIF of 65535×65535 pixels": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\xf7\x00\x00" + noise,
        "GIF without a frame": b"GIF89a" + struct.pack("<HH", 64, 64) + b"\x00\x00\x00;",
        "MP4 cut in half": mp4[: len(mp4) // 2],
        "MP4 of one frame": write_mp4(folder / "one.mp4", clip[:1]).read_bytes(),
        "MP4 of too wide frames": write_mp4(folder / "wide.mp4", np.zeros((16, 16, 4800, 3), np.uint8)).read_bytes(),
        "MP4 with noise behind its head": FTYP + noise,
        "MP4 of sound alone": sound_alone(folder / "sound_alone.mp4"),
        "WebM cut in half": webm[: len(webm) // 2],
        "WebM of four bytes": EBML,
        "WebM with noise behind its head": EBML + noise,
        "AVI with noise behind its head": b"RIFF\xff\xff\xff\xffAVI LIST" + noise,
    }


def webm_of(folder: Path, clip: Pixels) -> bytes:
    from kinetoken.footage.webm import write_webm

    write_webm(folder / "sound.webm", clip, 16)
    return (folder / "sound.webm").read_bytes()


def npy_of(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=True)
    return sink.getvalue()


def npz_of(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return sink.getvalue()


def bomb() -> bytes:
    """8 GiB of zeros, as its directory has it."""
    head = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (131072, 16, 64, 64, 1), }")
    archive = bytearray(npz_of("clips.npy", head + bytes(1 << 20)))
    place = archive.rfind(b"PK\x01\x02")
    archive[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(archive)


def npy_header(text: str) -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


def sound_alone(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()
