"""The sections of a recipe and what their values may be; the docstrings of the fields are their documentation."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

__all__ = [
    "DataSection",
    "LossSection",
    "ModelSection",
    "OptimSection",
    "Recipe",
    "RunSection",
    "as_setting",
    "recipe_keys",
]


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be larger than the second")
    return pair


# TOML has arrays, not tuples; strict mode would refuse the conversion.
_FromArray = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_Unit = Annotated[float, Field(ge=0, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]
UnitRange = Annotated[tuple[_Unit, _Unit], AfterValidator(_ascending), _FromArray]
Decays = Annotated[tuple[_Decay, _Decay], _FromArray]
Mirrored = Annotated[tuple[Literal["depth", "albedo"], ...], Field(min_length=1, max_length=2), _FromArray]
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
    crop: Line | None = None
    """How photographs are cut for this model, as --crop takes it; left out: as the images were prepared."""


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
    """Depth that the outer columns on each side are set to; left out: 0.7 depth_max + 0.3 depth_min."""
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
    dome_below: float = Field(0.0, ge=-0.5, le=0.5)
    """How far below the image's middle the dome has its own, as a share of the height; 0.35 for cars from above."""
    symmetric: bool = False
    """Make canonical depth and albedo exactly symmetric instead of probably, so that one reconstruction is enough, and
    the viewpoint of a mirrored image the mirrored viewpoint."""
    mirrored: Mirrored = ("depth", "albedo")
    """The canonical maps that symmetry is assumed of; one alone is an ablation of the paper."""
    light: bool = True
    """Shade the albedo; false leaves all shading to the albedo, an ablation of the paper."""
    border: int = Field(2, ge=0, le=16)
    """Columns on the left and the right whose depth is border_depth."""
    align_corners: bool = True
    """False samples textures as the reference implementation does by accident on torch 1.3 and later."""
    he_init: bool = False
    """Start the light and viewpoint encoders from He's initialisation: viewpoints spread out much earlier."""
    tint: bool = False
    """Let hues differ from picture to picture, as those of cars do. For training on with learn = "albedo": from the
    start the albedo would have the poses painted into it."""

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

    supervised: bool = False
    """Learn depth in view from the true depth alone, the paper's baseline; goes with max_rotation_degrees,
    max_translation_xy, border and search_steps 0."""

    flip: Weight = 0.5
    """Weight λ_f of the reconstruction through the mirrored depth and albedo."""
    flip_start: Weight | None = None
    """Another λ_f for the first epochs; goes with flip_start_epochs."""
    flip_start_epochs: int = Field(0, ge=0, le=10**6)
    """How many epochs flip_start holds."""
    perceptual: Weight = 1.0
    """Weight λ_p of the perceptual loss; has no effect with features = "none"."""
    features: Literal["vgg16", "self", "none"] = "vgg16"
    """The network whose features the perceptual loss compares; self: one that `sym3d features` made."""
    features_path: Line | None = None
    """Weights file of that network; left out, for vgg16: $SYM3D_VGG16, then the user cache."""
    smoothness: Weight = 0.0
    """Weight λ_sm of the mean absolute slope of the depth (less the prior's); 0.1 removes noise from the normals."""
    steepness: Weight = 0.0
    """Weight λ_st of slopes (less the prior's) steeper than 0.04 of the depth's range in a pixel of 64, the square of
    their excess; 0.15 puts off that shapes fold into blades, 0.6 more so."""
    yaw_spread: float | None = Field(None, gt=0, le=90)
    """Standard deviation of the yaws, in degrees, in upright and centred pictures; left out: no assumption."""
    yaw_spread_steps: int = Field(0, ge=0, le=10**9)
    """Over how many steps yaws are held at three quarters of yaw_spread to all of it, while the weight of that falls to
    a tenth, which it keeps; 0: weight and spread stay."""

    elevation: float | None = Field(None, ge=0, le=60)
    """Degrees that the camera looks down in the canonical pose at things that stand upright on the ground: yaw_spread
    and the search then know that turning one is a roll too; left out: pictures roll little."""

    @model_validator(mode="after")
    def _self_is_named(self):
        if self.features == "self" and self.features_path is None:
            raise ValueError('features = "self" needs features_path, a file that `sym3d features DATA OUT` makes')
        return self

    @model_validator(mode="after")
    def _start_is_whole(self):
        if (self.flip_start is None) != (self.flip_start_epochs == 0):
            raise ValueError("flip_start and flip_start_epochs go together: set both or neither")
        return self


class OptimSection(_Section):
    """Adam, and for how long."""

    lr: float = Field(1e-4, gt=0, le=1)
    """Learning rate."""
    betas: Decays = (0.9, 0.999)
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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the networks and features; auto: bfloat16 where the processor itself multiplies in it, float32 elsewhere."""
    init: Line | None = None
    """Start from the weights of this checkpoint, run folder or shipped model (averaged ones where it has them) instead
    of fresh ones; its size must be the same, its width the same or a fraction 1/k: networks are widened then. A model
    of another size or width can be imitated: imitate_steps."""
    imitate_steps: int = Field(0, ge=0, le=10**9)
    """The first so many steps learn from fresh weights to say what the model of init says of the same images, whatever
    its size and width; 0: its weights are taken over. Goes with search_steps 0."""
    learn: Literal["all", "albedo"] = "all"
    """albedo: shapes, viewpoints, light and confidence stay those of init (or --init), which it needs."""
    search_steps: int = Field(0, ge=0, le=10**9)
    """The first so many steps try random viewpoints on the prior's shape in the batch's mean albedo; 0: none."""

    @model_validator(mode="after")
    def _one_length(self):
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    @model_validator(mode="after")
    def _imitates_someone(self):
        if self.imitate_steps and self.init is None:
            raise ValueError("imitate_steps needs init (or --init), the model to imitate")
        if self.imitate_steps and self.search_steps:
            raise ValueError("imitate_steps takes the viewpoints of init: set search_steps to 0")
        return self

    @model_validator(mode="after")
    def _keeps_something(self):
        if self.learn != "all" and (self.imitate_steps or self.search_steps):
            raise ValueError(f'learn = "{self.learn}" keeps what init has: set imitate_steps and search_steps to 0')
        return self


class RunSection(_Section):
    """What happens beside the optimisation."""

    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of the weights, the order of the images and their flips."""
    validate_every: Count = 1000
    """Steps between validations."""
    save_every: Count = 1000
    """Steps between saved checkpoints."""
    keep_last: int = Field(1, ge=1, le=1000)
    """How many saved checkpoints stay: checkpoint.h5 and the ones before it, as checkpoint.0012000.h5."""
    keep_best: bool = False
    """Also keep checkpoint.best.h5, of the validation with the lowest SIDE, or without ground truth the lowest
    difference between images and reconstructions."""
    log_every: Count = 20
    """Steps between rows of the log; in runs of more than 4,000 rows older ones are averaged, in 2,000 at most."""
    rollbacks: int = Field(0, ge=0, le=100)
    """How often a training that diverges goes on from its last checkpoint, each time at half the learning rate, before
    it stops; 0: it stops at once."""
    validate_images: Count = 256
    """At most this many images are validated on."""
    tensorboard: bool = False
    """Also write the log for TensorBoard, under the run's folder; needs the tensorboard extra."""


class Recipe(_Section):
    """A whole training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Names the run's folder; letters, digits, dot, dash and underscore."""
    data: DataSection
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    optim: OptimSection
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _supervised_turns_nothing(self):
        model = self.model
        turning = model.max_rotation_degrees or model.max_translation_xy or model.max_translation_z or model.border
        if self.loss.supervised and (turning or self.optim.search_steps):
            raise ValueError(
                "loss.supervised learns depth as it is seen: set model.max_rotation_degrees, model.max_translation_xy, "
                "model.max_translation_z, model.border and optim.search_steps to 0"
            )
        if self.loss.supervised and self.optim.learn != "all":
            raise ValueError("loss.supervised learns depth alone: leave optim.learn at all")
        return self

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


def as_setting(dotted: str, value: object) -> str:
    """The ``key=value`` override that makes a key this; None takes it out."""
    return f"{dotted}={'' if value is None else _toml(value)}"


def recipe_keys() -> list[tuple[str, str, str]]:
    """The reference of every key: (dotted key, default as TOML or "required" or "none", what it means)."""
    rows = []
    for dotted, field in _walk():
        default = "required" if field.is_required() else "none" if field.default is None else _toml(field.default)
        rows.append((dotted, default, re.sub(r"\s+", " ", field.description or "")))
    return rows


def _walk() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            yield from ((f"{name}.{leaf}", inner) for leaf, inner in field.annotation.model_fields.items())
        else:
            yield name, field
