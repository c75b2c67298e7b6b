"""Recipes: everything that decides a training run, as one small TOML file.

The only module that reads TOML. A recipe is checked as a whole, so one message names every fault with its dotted
path and the nearest known key. The core never sees a recipe: stages turn its sections into plain arguments.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from stages.errors import InputError, UsageError

__all__ = [
    "DataSection",
    "LossSection",
    "ModelSection",
    "OptimSection",
    "Recipe",
    "RunSection",
    "find_images",
    "find_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_keys",
    "shipped_recipes",
]

MAX_BYTES = 256 * 1024  # a recipe is a page of text; whatever is larger was named by mistake
MAX_FAULTS = 12  # the rest of a hopeless file would only bury the line


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be larger than the second")
    return pair


# TOML has arrays, not tuples; strict mode would refuse the conversion.
_Unit = Annotated[float, Field(ge=0, le=1)]
UnitRange = Annotated[
    tuple[_Unit, _Unit],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    AfterValidator(_ascending),
]
Line = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Field(ge=1, le=10**9)]
Weight = Annotated[float, Field(ge=0, le=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class DataSection(_Section):
    """Which images are learned from."""

    images: Line
    """The `sym3d.images` file: relative to the working directory or else to the recipe's own folder."""
    make: Line
    """The command that makes that file; printed when the file is missing."""
    flip: bool = True
    """Mirror each training image left to right with probability 0.5."""


class ModelSection(_Section):
    """The networks and the camera they look through."""

    size: Literal[64, 128, 256] = 64
    """Side of the square input in pixels."""
    width: float = Field(1.0, gt=0, le=4)
    """Multiplies the channel counts of all networks; 1 is the paper's."""
    depth_min: float = Field(0.9, gt=0, le=100)
    """Nearest canonical depth (metric z)."""
    depth_max: float = Field(1.1, gt=0, le=100)
    """Farthest canonical depth (metric z)."""
    border_depth: float | None = Field(None, gt=0, le=100)
    """Depth that the two outer columns on each side are set to; left out: 0.7 depth_max + 0.3 depth_min."""
    max_rotation_degrees: float = Field(60.0, ge=0, le=180)
    """Largest rotation about each axis, in degrees."""
    max_translation_xy: float = Field(0.1, ge=0, le=10)
    """Largest shift right or down (metric)."""
    max_translation_z: float = Field(0.0, ge=0, le=10)
    """Largest shift away from the camera (metric)."""
    ambient: UnitRange = (0.0, 1.0)
    """Smallest and largest ambient light."""
    diffuse: UnitRange = (0.0, 1.0)
    """Smallest and largest diffuse light."""
    fov: float = Field(10.0, ge=1, le=120)
    """Horizontal field of view in degrees."""
    confidence: bool = True
    """Predict confidence maps, which let parts of an image be asymmetric."""
    convex_prior: float = Field(0.0, ge=0, le=10)
    """Height of the fixed convex dome added to the raw depth; 0 is the paper, 1.2 keeps faces from turning hollow."""

    @model_validator(mode="after")
    def _depths_make_sense(self):
        margin = (self.depth_max - self.depth_min) / 2
        if margin <= 0:
            raise ValueError("depth_min must be smaller than depth_max")
        if self.depth_min - margin <= 0:
            raise ValueError("depth_min must exceed (depth_max - depth_min) / 2, or views reach behind the camera")
        if self.border_depth is not None and not self.depth_min <= self.border_depth <= self.depth_max:
            raise ValueError("border_depth must lie between depth_min and depth_max")
        return self


class LossSection(_Section):
    """What the training minimises."""

    flip: Weight = 0.5
    """Weight λ_f of the reconstruction through the mirrored depth and albedo."""
    flip_start: Weight | None = None
    """Another λ_f for the first epochs; goes with flip_start_epochs."""
    flip_start_epochs: int = Field(0, ge=0, le=10**6)
    """How many epochs flip_start holds."""
    perceptual: Weight = 1.0
    """Weight λ_p of the perceptual loss; has no effect with features = "none"."""
    features: Literal["vgg16", "none"] = "vgg16"
    """The network whose features the perceptual loss compares."""
    features_path: Line | None = None
    """Weights file of that network; left out: $SYM3D_VGG16, then the user cache."""
    smoothness: Weight = 0.0
    """Weight λ_sm of the depth's mean absolute slope; 0.1 removes noise from the normals."""

    @model_validator(mode="after")
    def _start_is_whole(self):
        if (self.flip_start is None) != (self.flip_start_epochs == 0):
            raise ValueError("flip_start and flip_start_epochs go together: set both or neither")
        return self


class OptimSection(_Section):
    """Adam, and for how long."""

    lr: float = Field(1e-4, gt=0, le=1)
    """Learning rate."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Adam's two decay rates."""
    weight_decay: float = Field(5e-4, ge=0, le=1)
    """L2 penalty added to the gradient."""
    clip: float | None = Field(None, gt=0, le=1e6)
    """Largest norm of the gradient; left out: no clipping, as in the paper."""
    batch: int = Field(64, ge=1, le=65536)
    """Images per step."""
    epochs: Count | None = None
    """Length as passes over the training images; either this or steps."""
    steps: Count | None = None
    """Length as a number of steps; either this or epochs."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a running average of the weights, which then is what is validated and saved for inference."""

    # As in UnitRange: arrays become tuples before the strict check.
    @model_validator(mode="before")
    @classmethod
    def _betas_from_array(cls, values: Any):
        if isinstance(values, dict) and isinstance(values.get("betas"), list):
            return {**values, "betas": tuple(values["betas"])}
        return values

    @model_validator(mode="after")
    def _one_length(self):
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self


class RunSection(_Section):
    """What happens beside the optimisation."""

    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of the weights, the order of the images and their flips."""
    validate_every: Count = 1000
    """Steps between validations."""
    save_every: Count = 1000
    """Steps between saved checkpoints."""
    log_every: Count = 20
    """Steps between rows of the log."""
    validate_images: Count = 256
    """At most this many images are validated on."""


class Recipe(_Section):
    """A whole training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Names the run's folder; letters, digits, dot, dash and underscore."""
    data: DataSection
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    optim: OptimSection
    run: RunSection = RunSection()

    def text(self) -> str:
        """The resolved recipe as TOML: every value that holds, so ``parse_recipe(recipe.text()) == recipe``."""
        lines = [f"name = {_toml(self.name)}"]
        for section, values in self.model_dump(exclude={"name"}).items():
            lines += ["", f"[{section}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        return "\n".join(lines) + "\n"


def _toml(value: str | bool | int | float | tuple) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, but for DEL, which has to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name, and apply ``key=value`` overrides.

    Raises InputError when there is no such file or it is no TOML, UsageError naming every fault in the recipe.
    """
    found = find_recipe(path)
    try:
        with found.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from None
    except UnicodeDecodeError:
        raise InputError(path, "is no text in UTF-8", "name a recipe, a .toml file") from None
    if len(raw) > MAX_BYTES:
        raise InputError(path, f"is larger than {MAX_BYTES // 1024} KiB", "name a recipe, a small .toml file")
    return parse_recipe(text, overrides, where=str(path))


def parse_recipe(text: str, overrides: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe that a TOML text describes; raises as `load_recipe`, with ``where`` named in the message."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also covers numbers of thousands of digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(where, f"is not valid TOML: {reason}", "correct that place") from None
    values = _override(values, overrides)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors(include_url=False)]
    more = f" · and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    raise UsageError(
        where,
        " · ".join(faults[:MAX_FAULTS]) + more,
        "correct the recipe or the -s overrides; docs/recipes.md lists every key",
    )


def _override(values: dict, overrides: Sequence[str]) -> dict:
    """Apply ``key=value``; an empty value takes the key out, so that its default holds."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    given = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-s {override}", "is not key=value", "write for example -s optim.lr=3e-4")
        given[key.strip()] = value.strip()
    # A recipe has one length: asking for the other kind replaces it.
    for key, other in (("optim.epochs", "optim.steps"), ("optim.steps", "optim.epochs")):
        if given.get(key) and other not in given:
            given[other] = ""
    for key, value in given.items():
        section, _, leaf = key.rpartition(".")
        table = values.setdefault(section, {}) if section else values
        if not isinstance(table, dict):
            raise UsageError(f"-s {key}", f"{section} is a value, not a section", "see docs/recipes.md")
        if value:
            table[leaf] = _parse_value(value)
        else:
            table.pop(leaf, None)
    return values


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _describe(fault: Any) -> str:
    """One pydantic fault as ``section.key: what``."""
    location = [str(part) for part in fault["loc"] if part not in ("function-after[_ascending()", "tuple")]
    key = ".".join(location) or "recipe"
    if fault["type"] == "extra_forbidden":
        nearest = _nearest(key)
        return f"{key}: no such key" + (f", did you mean {nearest}?" if nearest else "")
    if fault["type"] == "missing":
        return f"{key}: is missing"
    if fault["type"] == "string_pattern_mismatch":
        wanted = "letters, digits and . _ - (at most 64)" if key == "name" else "text without control characters"
        return f"{key}: must be {wanted}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    got = fault["input"]
    shown = "" if isinstance(got, dict) else f" (got {_short(got)})"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}"


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 40 else text[:37] + "..."


def _nearest(key: str) -> str | None:
    known = [dotted for dotted, _ in _walk()]
    leaf = key.rsplit(".", 1)[-1]
    for dotted in known:  # the right word in the wrong section
        if dotted.rsplit(".", 1)[-1] == leaf:
            return dotted
    close = difflib.get_close_matches(key, known, n=1) or [
        dotted
        for word in difflib.get_close_matches(leaf, [dotted.rsplit(".", 1)[-1] for dotted in known], n=1)
        for dotted in known
        if dotted.rsplit(".", 1)[-1] == word
    ]
    return close[0] if close else None


def _walk():
    """Every key as (dotted path, field)."""
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            for leaf, inner in field.annotation.model_fields.items():
                yield f"{name}.{leaf}", inner
        else:
            yield name, field


def recipe_keys() -> list[tuple[str, str, str]]:
    """(dotted key, default as TOML or "required" or "none", what it means) of every key: the recipe reference."""
    rows = []
    for dotted, field in _walk():
        default = "required" if field.is_required() else "none" if field.default is None else _toml(field.default)
        rows.append((dotted, default, re.sub(r"\s+", " ", field.description or "")))
    return rows


def shipped_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with sym3d: ``sym3d_cli/_recipes`` in a wheel, ``recipes`` in a checkout."""
    root = Path(__file__).resolve().parents[1]
    folder = root / "sym3d_cli" / "_recipes"
    if not folder.is_dir() and (root / "pyproject.toml").is_file():
        folder = root / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}


def find_recipe(path: str | Path) -> Path:
    """The file that ``path`` means: itself, else the shipped recipe of that name (``cats``, ``recipes/cats.toml``)."""
    path = Path(path)
    shipped = shipped_recipes()
    name = path.as_posix().removeprefix("recipes/").removesuffix(".toml")
    if path.is_file():
        return path
    if name in shipped and not (path.is_dir() and path.suffix):
        return shipped[name]
    if path.is_dir():
        raise InputError(path, "is a folder", "name a recipe, a .toml file")
    nearest = difflib.get_close_matches(name, shipped, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    raise InputError(path, "no such recipe", f"{guess}`sym3d recipes list` shows those that come with sym3d")


def find_images(recipe: Recipe, recipe_path: str | Path | None = None) -> Path:
    """The recipe's image file, from the working directory or else the recipe's; InputError says how to make it."""
    images = Path(recipe.data.images)
    if images.exists():
        return images
    beside = Path(recipe_path).parent / images if recipe_path is not None else images
    if beside.exists():
        return beside
    raise InputError(images, f"the images of recipe {recipe.name} are not there", f"make them: {recipe.data.make}")
