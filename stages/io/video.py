"""Frames as moving pictures: GIF for a page, MP4 for a player."""

import io
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from stages.io.files import make_folder, write_file

__all__ = ["swing_yaws", "write_gif", "write_mp4"]


def swing_yaws(frames: int = 40, reach: float = 40.0) -> np.ndarray:
    """(frames,) yaw angles in degrees of a smooth swing 0 → reach → 0 → -reach → 0 that loops without a jerk."""
    return reach * np.sin(2 * np.pi * np.arange(frames) / frames)


def write_gif(path: Path, frames: np.ndarray, *, fps: int = 20) -> Path:
    """frames: (T, H, W, 3) uint8 RGB; loops for ever. Raises OutputError when writing fails."""
    stream = io.BytesIO()
    iio.imwrite(stream, frames, extension=".gif", plugin="pillow", duration=1000 / fps, loop=0)
    make_folder(path.parent)
    return write_file(path, stream.getvalue())


def write_mp4(path: Path, frames: np.ndarray, *, fps: int = 20, loops: int = 2) -> Path:
    """frames: (T, H, W, 3) uint8 RGB, played ``loops`` times over; H.264 in 4:2:0, so an odd side loses its last
    line.

    Raises OutputError when writing fails.
    """
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    frames = np.concatenate([frames[:, :height, :width]] * loops)
    stream = io.BytesIO()
    iio.imwrite(stream, frames, extension=".mp4", plugin="pyav", codec="libx264", fps=fps)
    make_folder(path.parent)
    return write_file(path, stream.getvalue())
