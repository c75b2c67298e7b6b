"""The paper's tables: their rows, what each trains, and the figures that the paper has for it."""

from dataclasses import dataclass

__all__ = ["LEARNED", "QUICK_STEPS", "RATIOS", "SUPERVISED", "TABLES", "Figures", "Row", "Scale", "rows_of", "scale"]

Training = tuple[str, tuple[str, ...]]  # its name and settings
Figures = tuple[float, float, float, float]  # SIDE ×10⁻² and its deviation over images, MAD in degrees and its


@dataclass(frozen=True)
class Row:
    """``training``: rows with the same name share their runs; None is a depth map that needs no training, by its
    baseline's name in ``label``. ``settings`` are what differs from the full method, as ``train -s`` takes them.
    ``perturbed``: on the data set of that name. ``pictured``: its confidence maps are drawn beside the table.
    """

    label: str
    paper: Figures
    training: str | None
    settings: tuple[str, ...] = ()
    quick: bool = True  # its effect is strong enough for a table of small runs
    perturbed: bool = False
    pictured: bool = False


@dataclass(frozen=True)
class Scale:
    """How large the runs are: the recipe they start from, what all of them change in it, and the default seeds.

    steps: their length where it is not the table's own.
    """

    name: str
    recipe: str
    settings: tuple[str, ...]
    seeds: int
    steps: int | None = None


SUPERVISED = (
    "loss.supervised=true",
    *(f"model.{key}=0" for key in ("max_rotation_degrees", "max_translation_xy", "border", "convex_prior")),
    *("model.confidence=false", "model.symmetric=false", "loss.features=none", "optim.search_steps=0"),
    "loss.steepness=0",
)
FULL = (0.793, 0.140, 16.51, 1.56)
NO_CONFIDENCE = (0.829, 0.213, 16.39, 2.12)
WITHOUT_MAPS, WITH_MAPS = ("model.confidence=false",), ("model.confidence=true",)
QUICK_STEPS = 8000  # after which the order of the rows holds
LEARNED = "loss.features=self"  # of features that have to be learned first


def _perturb(without_maps: Training, with_maps: Training) -> tuple[Row, ...]:
    """The rows of table 5, by what trains without confidence maps and what with."""
    return (
        Row("no perturbation, no confidence", NO_CONFIDENCE, *without_maps),
        Row("no perturbation, confidence", FULL, *with_maps),
        Row("perturbation, no confidence", (2.141, 0.842, 26.61, 5.39), *without_maps, perturbed=True),
        Row("perturbation, confidence", (0.878, 0.169, 17.14, 1.90), *with_maps, perturbed=True, pictured=True),
    )


TABLES = {
    "baselines": (
        Row("supervised", (0.410, 0.103, 10.78, 1.01), "supervised", SUPERVISED),
        Row("null-depth", (2.723, 0.371, 43.34, 2.25), None),
        Row("average-depth", (1.990, 0.556, 23.26, 2.85), None),
        Row("unsupervised", FULL, "full"),
    ),
    "ablations": (
        Row("full", FULL, "full"),
        Row("without albedo flip", (2.916, 0.300, 39.04, 1.80), "no-albedo-flip", ('model.mirrored=["depth"]',)),
        Row("without depth flip", (1.139, 0.244, 27.06, 2.33), "no-depth-flip", ('model.mirrored=["albedo"]',)),
        Row("without light", (2.406, 0.676, 41.64, 8.48), "no-light", ("model.light=false",)),
        Row("without perceptual loss", (0.931, 0.269, 17.90, 2.31), "no-perceptual", ("loss.features=none",), False),
        Row("self-supervised perceptual loss", (0.815, 0.145, 15.88, 1.57), "self", (LEARNED,), False),
        Row("without confidence", NO_CONFIDENCE, "no-confidence", WITHOUT_MAPS, False),
    ),
    "perturb": _perturb(("no-confidence", WITHOUT_MAPS), ("full", ())),
    "failures": (Row("full", FULL, "full"),),
}
SMALL_PERTURB = _perturb(("full", ()), ("confidence", WITH_MAPS))  # small recipes are without confidence maps
RATIOS = {  # whose figures the paper compares, the one divided by the other
    "baselines": (("unsupervised", "supervised"), ("unsupervised", "null-depth")),
    "perturb": (
        ("perturbation, no confidence", "no perturbation, no confidence"),
        ("perturbation, confidence", "no perturbation, confidence"),
    ),
}


def rows_of(table: str, quick: bool) -> tuple[Row, ...]:
    """Of one of TABLES; of a quick one those whose effect is strong enough for small runs."""
    if not quick:
        return TABLES[table]
    return SMALL_PERTURB if table == "perturb" else tuple(row for row in TABLES[table] if row.quick)


def scale(quick: bool, steps: int | None) -> Scale:
    """Small runs for two CPU cores, or the paper's recipe; ``steps`` replaces their length."""
    name, recipe, length, seeds = ("quick", "small", QUICK_STEPS, 1) if quick else ("full", "synfaces", None, 3)
    settings = (f"optim.steps={steps or length}",) if steps or length else ()
    return Scale(name, recipe, settings, seeds, steps if steps != length else None)
