"""Recipes: what they refuse, how they say it, and that their text means themselves."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import InputError, UsageError
from stages.recipe import (
    Recipe,
    find_images,
    find_recipe,
    load_recipe,
    parse_recipe,
    recipe_keys,
    shipped_recipes,
)

SMALLEST = """
name = "mine"
[data]
images = "a.h5"
make = "sym3d prep a/ a.h5"
[optim]
steps = 10
"""


def refused(*overrides: str, text: str = SMALLEST) -> str:
    with pytest.raises(UsageError) as caught:
        parse_recipe(text, overrides, where="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


# Settings of the paper, from its text and its reference implementation


def test_the_papers_settings():
    faces, cats, cars, synfaces = (load_recipe(name) for name in ("faces", "cats", "cars", "synfaces"))
    for recipe in (faces, cats, cars, synfaces):
        assert (recipe.optim.lr, recipe.optim.betas, recipe.optim.weight_decay) == (1e-4, (0.9, 0.999), 5e-4)
        assert (recipe.optim.batch, recipe.optim.clip, recipe.optim.ema) == (64, None, None)
        assert (recipe.model.size, recipe.model.width, recipe.model.convex_prior) == (64, 1.0, 0.0)
        assert (recipe.model.depth_min, recipe.model.depth_max, recipe.model.fov) == (0.9, 1.1, 10.0)
        assert (recipe.model.max_rotation_degrees, recipe.model.max_translation_xy) == (60.0, 0.1)
        assert recipe.loss.features == "vgg16"
        assert recipe.data.flip
    assert [r.optim.epochs for r in (faces, cats, cars, synfaces)] == [30, 200, 100, 30]
    assert [r.model.max_translation_z for r in (faces, cats, synfaces)] == [0.0, 0.1, 0.0]
    assert (cats.loss.flip, cats.loss.flip_start, cats.loss.flip_start_epochs) == (0.5, 1.0, 10)
    for recipe in (faces, synfaces):
        assert (recipe.loss.flip, recipe.loss.flip_start, recipe.loss.perceptual, recipe.loss.smoothness) == (
            0.5,
            None,
            1.0,
            0.0,
        )
        assert recipe.model.confidence
    assert (cars.loss.flip, cars.loss.perceptual, cars.loss.smoothness) == (1.0, 0.01, 0.1)
    assert (cars.model.confidence, cars.model.diffuse, cars.model.border_depth) == (False, (0.5, 1.0), 1.08)


@pytest.mark.parametrize("name", ["tiny", "small", "cars-small"])
def test_short_recipes_are_kept_healthy(name):
    recipe = load_recipe(name)
    assert recipe.model.convex_prior > 0
    assert recipe.loss.smoothness > 0
    assert recipe.loss.features == "none"
    assert recipe.optim.clip is not None


# Text and back

recipes = st.builds(
    lambda name, line, floats, ints, flags, size, ranges, optional: Recipe.model_validate(
        {
            "name": name,
            "data": {"images": line, "make": line[::-1], "flip": flags[0]},
            "model": {
                "size": size,
                "width": floats[0] * 4,
                "ambient": sorted(ranges[:2]),
                "diffuse": tuple(sorted(ranges[2:])),
                "confidence": flags[1],
                "border_depth": 0.9 + 0.2 * floats[1] if flags[2] else None,
            },
            "loss": {"perceptual": floats[2], "features": "none", "features_path": optional},
            "optim": {"lr": floats[3], "steps" if flags[3] else "epochs": ints[0], "ema": floats[4]},
            "run": {"seed": ints[1] % 2**32},
        }
    ),
    st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z"),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
    st.lists(st.floats(1e-9, 0.999, allow_subnormal=False), min_size=5, max_size=5),
    st.lists(st.integers(1, 10**9), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from([64, 128, 256]),
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=4, max_size=4),
    st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10),
)


@given(recipes)
@settings(max_examples=100)
def test_text_round_trips(recipe):
    assert parse_recipe(recipe.text()) == recipe
    assert parse_recipe(recipe.text()).text() == recipe.text()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_round_trip(name):
    assert parse_recipe(load_recipe(name).text()) == load_recipe(name)


def test_quotes_and_backslashes_survive():
    recipe = parse_recipe(SMALLEST, [r"""data.images='a "b" \n c'"""])
    assert recipe.data.images == r'a "b" \n c'
    assert parse_recipe(recipe.text()) == recipe


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load_recipe(path) == parse_recipe(SMALLEST)


# Overrides


def test_overrides_are_toml_values():
    recipe = parse_recipe(
        SMALLEST,
        [
            "optim.lr=3e-4",
            "model.ambient=[0.1, 0.5]",
            "data.flip = false",
            "loss.features=none",
            'name="n"',
            "run.seed=7",
        ],
    )
    assert recipe.optim.lr == 3e-4
    assert recipe.model.ambient == (0.1, 0.5)
    assert (recipe.data.flip, recipe.loss.features, recipe.name, recipe.run.seed) == (False, "none", "n", 7)


def test_whole_numbers_and_floats_do_not_mix_up():
    recipe = parse_recipe(SMALLEST, ["model.size=128.0", "optim.clip=2"])
    assert isinstance(recipe.model.size, int)
    assert isinstance(recipe.optim.clip, float)


def test_a_bare_word_is_text():
    assert parse_recipe(SMALLEST, ["data.images=photos/cats.h5"]).data.images == "photos/cats.h5"


def test_an_empty_value_takes_the_key_out():
    recipe = parse_recipe(SMALLEST, ["optim.clip=1.0", "optim.clip="])
    assert recipe.optim.clip is None


def test_asking_for_steps_replaces_epochs_and_the_other_way_round():
    assert load_recipe("cats", ["optim.steps=5"]).optim.epochs is None
    assert load_recipe("tiny", ["optim.epochs=2"]).optim.steps is None
    assert "exactly one" in refused("optim.epochs=3", "optim.steps=4")
    assert "imitate_steps needs init (or --init)" in refused("optim.imitate_steps=3")
    both = refused("optim.imitate_steps=3", "optim.search_steps=3", "optim.init=a.h5")
    assert "imitate_steps takes the viewpoints of init: set search_steps to 0" in both
    still = ("model.max_rotation_degrees=0.0", "model.max_translation_xy=0.0", "model.border=0")
    alone = refused("optim.learn=albedo", "loss.supervised=true", *still)
    assert "loss.supervised learns depth alone: leave optim.learn at all" in alone
    for steps in ("optim.search_steps=3", "optim.imitate_steps=3"):
        painting = refused("optim.learn=albedo", "optim.init=a.h5", steps)
        assert 'learn = "albedo" keeps what init has: set imitate_steps and search_steps to 0' in painting


def test_an_override_makes_its_section():
    assert parse_recipe(SMALLEST, ["loss.smoothness=0.5"]).loss.smoothness == 0.5


@pytest.mark.parametrize("override", ["lr", "=3", " = 3"])
def test_what_is_no_override(override):
    with pytest.raises(UsageError, match="is not key=value"):
        parse_recipe(SMALLEST, [override])


def test_a_key_below_a_value():
    with pytest.raises(UsageError, match="name is a value"):
        parse_recipe(SMALLEST, ["name.first=x"])


def test_an_override_cannot_smuggle_keys():
    assert "optim.lr" in refused("optim.lr=1\nother=2")


# Faults


def test_all_faults_are_named_at_once():
    message = refused("model.widht=2", "optim.lr=-1", "modle.size=64", "lr=1", "loss.flip_start=1.0", "run.seed=x")
    for part in (
        "model.widht: no such key, did you mean model.width?",
        "optim.lr: should be greater than 0 (got -1)",
        "modle: no such key, did you mean model?",
        "lr: no such key, did you mean optim.lr?",
        "loss: flip_start and flip_start_epochs go together",
        "run.seed: should be a valid integer",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("name=a/b", "name: must be letters"),
        ("name=../up", "name: must be letters"),
        ("name=''", "name: must be letters"),
        ("name=.hidden", "name: must be letters"),
        ("data.images=''", "data.images: "),
        ('data.images="a\\u0000b"', "data.images: must be text without control characters"),
        ("data.flip=1", "data.flip: should be a valid boolean"),
        ("model.size=65", "model.size: should be 64, 128 or 256 (got 65)"),
        ("model.size='64'", "model.size: should be 64, 128 or 256"),
        ("model.width=0", "model.width: "),
        ("model.width=nan", "model.width: should be a finite number"),
        ("model.fov=inf", "model.fov: should be"),
        ("model.fov=0", "model.fov: "),
        ("model.depth_min=1.2", "depth_min must be smaller than depth_max"),
        ("model.depth_max=9", "behind the camera"),
        ("model.border_depth=2", "border_depth must lie between"),
        ("model.ambient=[1, 0]", "model.ambient: the first number must not be larger"),
        ("model.ambient=[0]", "model.ambient"),
        ("model.ambient=0.5", "model.ambient"),
        ("model.diffuse=[0, 2]", "model.diffuse.1: should be less than or equal to 1"),
        ("loss.features=vgg", "loss.features: should be 'vgg16', 'self' or 'none' (got 'vgg')"),
        ("loss=3", "loss: must be a section, [loss]"),
        ("optim.betas=[0.9, 1]", "optim.betas.1: should be less than 1"),
        ("optim.clip=0", "optim.clip: should be greater than 0"),
        ("optim.steps=0", "optim.steps: should be greater than or equal to 1"),
        ("optim.steps=", "exactly one of epochs and steps"),
        ("optim.ema=1", "optim.ema: should be less than 1"),
        ("run.seed=-1", "run.seed: should be greater than or equal to 0"),
        ("run.seed=1" + "0" * 400, "got a huge number"),
        ("model.fov=1" + "0" * 400, "model.fov"),
        ("run.log_every=true", "run.log_every: should be a valid integer"),
    ],
)
def test_a_bad_value_is_named(override, part):
    assert part in refused(override)


def test_missing_keys_are_named():
    message = refused(text="")
    for key in ("name", "data", "optim"):
        assert f"{key}: is missing" in message


def test_a_hopeless_file_gives_a_short_line():
    message = refused(*(f"nonsense{i}=1" for i in range(500)))
    assert "and 488 more" in message
    assert len(message) < 2000


# Files


def test_not_toml_says_where(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "a"\n[data\n')
    with pytest.raises(InputError, match=r"mine.toml: is not valid TOML: .*line 2, column 6"):
        load_recipe(path)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        ".".join("a" * 100_000) + " = 1",
        "a = 1" + "0" * 9000,
        "a = 2024-13-45",
        "\x00",
        "\\",
    ],
)
def test_hostile_toml(text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match="is not valid TOML") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


KEYS = [dotted for dotted, _, _ in recipe_keys()]
toml = st.recursive(
    st.integers(-(10**40), 10**40) | st.floats() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), toml), max_size=5), st.text(max_size=12))
@settings(max_examples=150)
def test_any_values_and_any_text_make_a_recipe_or_an_error_of_ours(pairs, tail):
    overrides = [f"{key}={value}" for key, value in pairs]
    for text in (SMALLEST, SMALLEST + tail, tail):
        try:
            recipe = parse_recipe(text, overrides)
        except (UsageError, InputError):
            continue
        assert parse_recipe(recipe.text()) == recipe


def test_what_is_no_text(tmp_path):
    path = tmp_path / "photo.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="is no text in UTF-8"):
        load_recipe(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="is larger than 256 KiB"):
        load_recipe(path)


def test_nothing_there():
    with pytest.raises(InputError, match=r"nowhere/mine.toml: no such recipe; .*recipes list"):
        load_recipe("nowhere/mine.toml")
    with pytest.raises(InputError, match="did you mean cats"):
        load_recipe("cat")


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load_recipe(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SMALLEST)
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(path)


# Places


def test_shipped_recipes_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"cats", "faces", "cars", "synfaces", "tiny", "small"} <= set(shipped_recipes())
    assert find_recipe("cats") == find_recipe("recipes/cats.toml") == shipped_recipes()["cats"]
    (tmp_path / "cats").mkdir()  # someone's photographs
    assert find_recipe("cats") == shipped_recipes()["cats"]
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "cats.toml").write_text(SMALLEST)  # their own recipe comes first
    assert load_recipe("recipes/cats.toml").name == "mine"


def test_images_are_found_here_or_beside_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = parse_recipe(SMALLEST)
    with pytest.raises(InputError, match=r"a.h5: .*; make them: sym3d prep a/ a.h5"):
        find_images(recipe, "away/mine.toml")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a.h5").touch()
    assert find_images(recipe, "away/mine.toml").as_posix() == "away/a.h5"
    (tmp_path / "a.h5").touch()
    assert find_images(recipe, "away/mine.toml").as_posix() == "a.h5"


def test_every_key_says_what_it_means():
    assert all(meaning for _, _, meaning in recipe_keys())
    assert len(recipe_keys()) > 30
