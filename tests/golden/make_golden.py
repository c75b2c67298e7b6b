"""Make the golden files of the current format version: ``python tests/golden/make_golden.py [folder]``.

Run it once when a version is new, and commit what it writes as ``v<version>/``. Files of older versions are never made
again: the tests read them to show that this program still can.
"""

import sys
from pathlib import Path

import numpy as np

from stages.artifact import RowWriter, open_artifact, write_artifact

ROWS, SIDE = 3, 8


def provenance(recipe: str, parents: tuple = ()) -> dict:
    """As make_provenance, without anything that depends on the machine or the hour."""
    return {
        "git": {"revision": "0" * 40, "dirty": False},
        "versions": {"python": "3.11.0", "sym3d": "0.1.0", "torch": "2.13.0", "numpy": "2.0.0"},
        "seed": 0,
        "argv": ["sym3d", recipe.split()[0]],
        "recipe": recipe,
        "parents": list(parents),
        "created": "2025-01-01T00:00:00+00:00",
    }


def link(path: Path) -> dict:
    with open_artifact(path) as artifact:
        return {
            "name": path.name,
            "schema": artifact.schema,
            "digest": artifact.digest,
            "provenance": artifact.provenance,
        }


def ramp(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """float32 values that rise evenly from low to high."""
    return np.linspace(low, high, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def images(path: Path) -> None:
    """Three rows with full ground truth; a fourth source was skipped."""
    columns = {
        "image": ramp(ROWS, SIDE, SIDE, 3, high=255).astype(np.uint8),
        "split": np.array([0, 1, 2], np.uint8),
        "name": ["one.png", "zwei/größe.jpg", "三.webp"],
        "sha256": ["0" * 64, "1" * 64, "2" * 64],
        "box": ramp(ROWS, 4, high=99),
        "depth": ramp(ROWS, SIDE, SIDE, low=0.9, high=1.1),
        "mask": ramp(ROWS, SIDE, SIDE) > 0.5,
        "canonical_depth": ramp(ROWS, SIDE, SIDE, low=0.95, high=1.05),
        "view": ramp(ROWS, 6, low=-0.5, high=0.5),
        "light": ramp(ROWS, 5),
        "keypoints": ramp(ROWS, 66, 3),
    }
    options = {"count": ROWS + 1, "dims": {"H": SIDE, "W": SIDE}, "fields": list(columns)}
    with RowWriter(path, "sym3d.images", provenance=provenance("prep size = 8"), overwrite=True, **options) as writer:
        writer.write([0, 1, 3], columns)
        writer.drop(2, "broken.jpg", "truncated image")
        writer.finish()


def checkpoint(path: Path, parent: Path) -> None:
    arrays = {
        "model/netD.network.0.weight": ramp(4, 3, 2, 2),
        "model/netV.network.0.weight": ramp(6, 4),
        "ema/netD.network.0.weight": ramp(4, 3, 2, 2, high=0.5),
        "optim/netD.network.0.weight.step": np.array(7.0, np.float32),
        "optim/netD.network.0.weight.exp_avg": ramp(4, 3, 2, 2, low=-1),
        "rng/torch": np.arange(16, dtype=np.uint8),
        "log/step": np.array([0.0, 5.0]),
        "log/loss": np.array([1.5, np.nan]),
    }
    origin = provenance("train size = 8", (link(parent),))
    write_artifact(path, "sym3d.checkpoint", arrays, provenance=origin, attrs={"step": 7, "size": SIDE})


def prediction(path: Path, parents: tuple[Path, ...]) -> None:
    rgb = ramp(ROWS, SIDE, SIDE, 3, high=255).astype(np.uint8)
    arrays = {
        "name": ["one.png", "zwei/größe.jpg", "三.webp"],
        "image": rgb,
        "canonical_depth": ramp(ROWS, SIDE, SIDE, low=0.9, high=1.1),
        "depth": ramp(ROWS, SIDE, SIDE, low=0.9, high=1.1),
        "valid": ramp(ROWS, SIDE, SIDE) > 0.25,
        "albedo": ramp(ROWS, SIDE, SIDE, 3),
        "shading": ramp(ROWS, SIDE, SIDE),
        "canonical_image": rgb,
        "reconstruction": rgb,
        "view": ramp(ROWS, 6),
        "light": ramp(ROWS, 5),
        "confidence": ramp(ROWS, 2, SIDE, SIDE, low=0.1),
    }
    attrs = {"depth_min": 0.9, "depth_max": 1.1, "fov": 10.0}
    origin = provenance("infer", tuple(link(parent) for parent in parents))
    write_artifact(path, "sym3d.prediction", arrays, provenance=origin, attrs=attrs)


def scores(path: Path, parent: Path) -> None:
    arrays = {
        "name": ["one.png", "zwei/größe.jpg", "三.webp"],
        "side": ramp(ROWS, high=0.02),
        "mad": ramp(ROWS, high=20),
        "baseline/null-depth/side": ramp(ROWS, high=0.03),
        "baseline/null-depth/mad": ramp(ROWS, high=44),
    }
    attrs = {"summary": {"side": {"mean": 0.01, "std": 0.008}}}
    write_artifact(path, "sym3d.scores", arrays, provenance=provenance("eval", (link(parent),)), attrs=attrs)


def features(path: Path, parent: Path) -> None:
    """Widths of 1/64: one channel, one, two, four."""
    counts = {0: (3, 1), 2: (1, 1), 5: (1, 2), 7: (2, 2), 10: (2, 4), 12: (4, 4), 14: (4, 4)}
    arrays = {f"encoder/features.{i}.weight": ramp(cout, cin, 3, 3, low=-1) for i, (cin, cout) in counts.items()}
    arrays |= {f"encoder/features.{i}.bias": ramp(cout) for i, (_, cout) in counts.items()}
    arrays |= {"mean": ramp(3, low=0.4, high=0.5), "std": ramp(3, low=0.2, high=0.3)}
    attrs = {"width": 1 / 64, "size": SIDE, "accuracy": 0.75}
    origin = provenance("features width = 0.015625", (link(parent),))
    write_artifact(path, "sym3d.features", arrays, provenance=origin, attrs=attrs)


def make(folder: Path) -> dict[str, str]:
    """Write all golden files; returns file name -> digest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.h5" for name in ("images", "checkpoint", "prediction", "scores", "features")}
    images(paths["images"])
    checkpoint(paths["checkpoint"], paths["images"])
    prediction(paths["prediction"], (paths["checkpoint"], paths["images"]))
    scores(paths["scores"], paths["prediction"])
    features(paths["features"], paths["images"])
    return {path.name: link(path)["digest"] for path in paths.values()}


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "v1"
    for name, digest in make(target).items():
        print(f'"{name}": "{digest}",')
