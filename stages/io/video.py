"""Frames as moving pictures: MP4 for a player, GIF and WebP for a page, PNG for a video editor."""

import io
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from stages.io.files import make_folder, write_file
from stages.io.pictures import write_png

__all__ = ["FPS", "VIDEO_FORMATS", "write_video"]

VIDEO_FORMATS = ("mp4", "gif", "webp", "png")
FPS = 20
MP4_LOOPS = 2  # players stop at the end, browsers' images do not


def write_video(folder: Path, stem: str, frames: np.ndarray, formats: Sequence[str]) -> list[Path]:
    """Write frames (T, H, W, 3) uint8 RGB as ``folder/stem.<format>`` for each of VIDEO_FORMATS asked for, and
    as ``folder/stem/0000.png``, … for "png", of which the folder is what is returned.

    GIF and WebP loop for ever. MP4 is H.264 in 4:2:0, which every player knows; an odd side has its last line twice.
    Raises OutputError when writing fails.
    """
    make_folder(folder)
    encode = {"mp4": _mp4, "gif": _gif, "webp": _webp}
    written = []
    for name in dict.fromkeys(formats):
        if name == "png":
            for index, frame in enumerate(frames):
                write_png(folder / stem / f"{index:04}.png", frame)
            written.append(folder / stem)
        else:
            written.append(write_file(folder / f"{stem}.{name}", encode[name](frames)))
    return written


def _mp4(frames: np.ndarray) -> bytes:
    down, across = (side % 2 for side in frames.shape[1:3])
    stream = io.BytesIO()
    frames = np.pad(np.concatenate([frames] * MP4_LOOPS), ((0, 0), (0, down), (0, across), (0, 0)), "edge")
    iio.imwrite(stream, frames, extension=".mp4", plugin="pyav", codec="libx264", fps=FPS)
    return stream.getvalue()


def _gif(frames: np.ndarray) -> bytes:
    return iio.imwrite("<bytes>", frames, extension=".gif", plugin="pillow", duration=1000 / FPS, loop=0)


def _webp(frames: np.ndarray) -> bytes:
    return iio.imwrite(
        "<bytes>", frames, extension=".webp", plugin="pillow", duration=1000 // FPS, loop=0, quality=85, method=2
    )
