"""What each kind of artifact holds: the one place where names, types, axes, units, frames and ranges are written down.

Axes are symbols that must agree within one file: N rows, H and W image side, M skipped sources, R log rows; an int is
exact. A field name that ends in ``*`` stands for every dataset below that prefix. docs/artifact-format.md is the prose.
"""

import math
from dataclasses import dataclass, field, replace

__all__ = ["SCHEMAS", "SPLITS", "TEXT_BYTES", "Attribute", "Field", "Schema"]

SPLITS = {"train": 0, "val": 1, "test": 2}  # codes in the dataset "split"
TEXT_BYTES = 1024  # longest label in a file, in UTF-8 bytes; a longer one keeps its end


@dataclass(frozen=True)
class Field:
    """One dataset (or, with ``*``, one family of them).

    dtype: "u1", "f4", "f8", "bool", "utf8", or "any" for any boolean, integer, float or text type.
    dims: axis symbols and exact lengths, or None for any shape.
    compress: gzip 1 + shuffle, one row to a chunk; otherwise contiguous, where reading a row is fastest.
    """

    dtype: str
    dims: tuple[str | int, ...] | None
    doc: str
    unit: str = ""
    range: str = ""
    frame: str = ""
    required: bool = False
    compress: bool = False

    @property
    def by_row(self) -> bool:
        """True where the first axis counts the rows of the artifact."""
        return self.dims is not None and self.dims[:1] == ("N",)


@dataclass(frozen=True)
class Attribute:
    """One attribute of the root that a schema knows.

    kind: "int", "float" (or an int), "ints" (a list of them) or "dict"; numbers are finite, above ``above``, at most
    ``most``, and smaller than the attribute ``below``.
    """

    kind: str
    above: float = -math.inf
    most: float = math.inf
    below: str = ""
    required: bool = False


@dataclass(frozen=True)
class Schema:
    name: str
    version: int
    doc: str
    fields: dict[str, Field]
    attrs: dict[str, Attribute] = field(default_factory=dict)

    def field(self, dataset: str) -> Field | None:
        """The field that describes a dataset path; an exact name wins over the longest matching ``prefix*``."""
        if dataset in self.fields:
            return self.fields[dataset]
        families = [name for name in self.fields if name.endswith("*") and dataset.startswith(name[:-1])]
        return self.fields[max(families, key=len)] if families else None


VIEW = "rotation angles about x, y, z, then translation along them; rotation centre (0, 0, 1)"
LIGHT = "ambient, diffuse, unit direction that the light shines in"
STEPS, PIXELS_WIDE = Attribute("int", -1, 2**53), Attribute("int", 0, 2**15)
CAMERA = "camera: x right, y down, z forward"
PIXELS = "image: u right, v down, pixel centres at integers"

NAME = Field("utf8", ("N",), "label of the row, the source's path below what was named", required=True)
BOX = Field("f4", ("N", 4), "crop x0, y0, x1, y1 in the upright source", "source px", "", PIXELS)
SKIPPED = {
    "skipped/name": Field("utf8", ("M",), "sources that gave no row"),
    "skipped/reason": Field("utf8", ("M",), "why they gave none, in words"),
}


def _depth(doc: str, frame: str, required: bool = False) -> Field:
    return Field("f4", ("N", "H", "W"), doc, "m", "about 0.9 to 1.1", frame, required, compress=True)


def _rgb(doc: str, required: bool = False) -> Field:
    return Field("u1", ("N", "H", "W", 3), doc, "sRGB code value", "0 to 255", PIXELS, required)


def _view(doc: str, required: bool = False) -> Field:
    return Field("f4", ("N", 6), f"{doc}: {VIEW}", "rad, rad, rad, m, m, m", "", CAMERA, required)


def _light(doc: str, required: bool = False) -> Field:
    return Field("f4", ("N", 5), f"{doc}: {LIGHT}", "", "ambient, diffuse 0 to 1", f"canonical {CAMERA}", required)


IMAGES = Schema(
    "sym3d.images",
    1,
    "square photographs ready for training, with ground truth where it is known",
    {
        "image": _rgb("photograph", required=True),
        "split": Field("u1", ("N",), "0 train, 1 validation, 2 test", "", "0 to 2", required=True),
        "name": NAME,
        "sha256": Field("utf8", ("N",), "hexadecimal SHA-256 of the source's content", required=True),
        "box": BOX,
        "depth": _depth("true depth, 0 on background", f"input view, {CAMERA}"),
        "mask": Field("bool", ("N", "H", "W"), "true on the object", "", "", PIXELS, compress=True),
        "canonical_depth": _depth("true depth before the view is applied", f"canonical, {CAMERA}"),
        "view": _view("true viewpoint"),
        "light": _light("true light"),
        "keypoints": Field(
            "f4", ("N", 66, 3), "u, v, depth of face key points", "px, px, m", "", f"{PIXELS}; z forward"
        ),
        **SKIPPED,
    },
)

PREDICTION = Schema(
    "sym3d.prediction",
    1,
    "shape, texture, light and viewpoint of each image. Attributes: depth_min, depth_max (m), fov (deg)",
    {
        "name": NAME,
        "image": _rgb("input image", required=True),
        "sha256": Field("utf8", ("N",), "hexadecimal SHA-256 of the source's content"),
        "box": BOX,
        "canonical_depth": _depth("depth of the canonical view", f"canonical, {CAMERA}", required=True),
        "depth": _depth("depth in the input view; background at the far limit", f"input view, {CAMERA}", required=True),
        "valid": Field("bool", ("N", "H", "W"), "true where the object covers the pixel", "", "", PIXELS, True, True),
        "albedo": Field("f4", ("N", "H", "W", 3), "canonical albedo", "", "0 to 1", PIXELS, True, True),
        "shading": Field("f4", ("N", "H", "W"), "canonical shading", "", ">= 0", PIXELS, True, True),
        "canonical_image": _rgb("albedo times shading", required=True),
        "reconstruction": _rgb("the canonical image seen from the predicted view", required=True),
        "view": _view("predicted viewpoint", required=True),
        "light": _light("predicted light", required=True),
        "reliability": Field("f4", ("N",), "share of the image's edges that the reconstruction has", "", "0 to 1"),
        "confidence": Field(
            "f4", ("N", 2, "H", "W"), "sigma of image and of flipped image", "", "> 0", PIXELS, False, True
        ),
        **SKIPPED,
    },
    {
        "depth_min": Attribute("float", 0, 100, below="depth_max", required=True),
        "depth_max": Attribute("float", 0, 100, required=True),
        "fov": Attribute("float", 0, 170, required=True),
    },
)

CHECKPOINT = Schema(
    "sym3d.checkpoint",
    1,
    "a model, and where training goes on, all that it needs to go on. Attributes: step, size (px)",
    {
        "model/*": Field("any", None, "parameters and buffers, <net>.<state dict key>", required=True),
        "ema/*": Field("any", None, "moving average of the parameters"),
        "optim/*": Field("any", None, "state of the optimiser"),
        "rng/*": Field("any", None, "states of the random generators"),
        "log/*": Field("f8", ("R",), "one column of the training log, a row for each report"),
    },
    {
        "step": replace(STEPS, required=True),
        "steps": STEPS,
        "size": PIXELS_WIDE,
        "seconds": Attribute("float", -1, 1e12),
        "skipped": replace(STEPS, kind="ints"),
        "rollbacks": STEPS,
    },
)

SCORES = Schema(
    "sym3d.scores",
    1,
    "figures for each image. Attributes: summary: means and deviations; reliability: how well it predicts the errors",
    {
        "name": NAME,
        "side": Field("f4", ("N",), "scale-invariant depth error", "log m", ">= 0"),
        "mad": Field("f4", ("N",), "mean angle between normals", "deg", "0 to 180"),
        "relief": Field("f4", ("N",), "correlation of predicted with true depth; negative: hollow", "", "-1 to 1"),
        "convexity": Field(
            "f4", ("N",), "correlation of canonical nearness with a dome; negative: hollow", "", "-1 to 1"
        ),
        "keypoint_depth": Field("f4", ("N", 66), "predicted depth at the key points", "m", "", "input view"),
        "keypoint_relief": Field("f4", ("N",), "correlation of that with the true one over an image's", "", "-1 to 1"),
        "reliability": Field("f4", ("N",), "share of the image's edges that the reconstruction has", "", "0 to 1"),
        "baseline/*": Field("f4", ("N",), "the same figure for a trivial prediction: baseline/<baseline>/<metric>"),
        "*": Field("f4", ("N",), "another figure"),
    },
    {"summary": Attribute("dict"), "reliability": Attribute("dict")},
)

FEATURES = Schema(
    "sym3d.features",
    1,
    "an encoder for the perceptual loss. Attributes: width, size (px), accuracy of its pretext task on held-out images",
    {
        "encoder/*": Field(
            "f4", None, "weights of VGG16's shape, features.<torchvision's index>.<part>", required=True
        ),
        "mean": Field("f4", (3,), "red, green and blue that count as 0", "", "0 to 1", required=True),
        "std": Field("f4", (3,), "how far from these counts as 1", "", "> 0", required=True),
    },
    {
        "width": Attribute("float", 0, 4, required=True),
        "size": replace(PIXELS_WIDE, required=True),
        "accuracy": Attribute("float", -1, 1, required=True),
    },
)

SCHEMAS = {schema.name: schema for schema in (IMAGES, PREDICTION, CHECKPOINT, SCORES, FEATURES)}
