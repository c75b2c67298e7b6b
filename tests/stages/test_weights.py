"""VGG16's weights: where they are looked for, and that only weights are read."""

import os
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import stages.io.weights
from stages.core.perceptual import VGG16Features
from stages.errors import InputError, MissingPartError
from stages.io.weights import ENVIRONMENT, find_vgg16, load_vgg16
from stages.loading import build_features
from stages.recipe import find_recipe, load_recipe


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "sym3d").mkdir(parents=True)
    return tmp_path


def weights():
    torch.manual_seed(0)
    return {key: torch.randn_like(value) for key, value in VGG16Features().state_dict().items()}


def test_missing_weights_say_where_they_were_sought_and_how_to_get_them(home):
    with pytest.raises(MissingPartError, match=r"vgg16\.safetensors.*torchvision.*SYM3D_VGG16.*loss\.features=none"):
        find_vgg16()
    with pytest.raises(MissingPartError, match=r"not found at .*mine\.pth"):
        find_vgg16(str(home / "mine.pth"))


def test_the_recipe_comes_before_the_environment_and_that_before_the_cache(home, monkeypatch):
    in_cache, named, mine = home / "cache/sym3d/vgg16.pth", home / "named.pth", home / "mine.pth"
    for path in (in_cache, named, mine):
        path.touch()
    assert find_vgg16() == in_cache
    monkeypatch.setenv(ENVIRONMENT, str(named))
    assert find_vgg16() == named
    assert find_vgg16(str(mine)) == mine


def test_both_formats_give_the_same_features_and_ignore_further_layers(home):
    whole = weights() | {"features.17.weight": torch.zeros(512, 256, 3, 3), "classifier.6.bias": torch.zeros(1000)}
    torch.save(whole, home / "vgg.pth")
    save_file(weights(), home / "vgg.safetensors")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    first, second = (load_vgg16(str(home / name))(image) for name in ("vgg.pth", "vgg.safetensors"))
    assert first.shape == (1, 256, 16, 16)
    assert (first == second).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(home, value):
    save_file(weights() | {"features.0.bias": torch.full((64,), value)}, home / "vgg.safetensors")
    with pytest.raises(InputError, match="not finite"):
        load_vgg16(str(home / "vgg.safetensors"))


def test_features_see_imagenet_normalised_pixels(home):
    save_file(weights(), home / "vgg.safetensors")
    network = load_vgg16(str(home / "vgg.safetensors"))
    grey = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None].expand(1, 3, 8, 8) * 2 - 1
    features, expected = network(grey), network.features(torch.zeros(1, 3, 8, 8))
    assert (features - expected).abs().max() < 1e-5 * expected.abs().max()  # random weights grow them to 1e8


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(Evil()), pickle.dumps({"features.0.weight": 1}), b"", b"not weights at all"),
        *(b"hello", b"<!DOCTYPE html>\n<html>404</html>", b"\x80\x02h\x00."),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_anything_else_is_refused_and_nothing_is_executed(home, monkeypatch, content, suffix):
    monkeypatch.chdir(home)
    path = home / f"vgg.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"unreadable weights|torch checkpoint|VGG16"):
        load_vgg16(str(path))
    assert not (home / "executed").exists()


def header(text: str, body: bytes = bytes(8), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text.encode() + body


def tensor(dtype: str = "F32", shape: str = "[2]", offsets: str = "[0, 8]") -> str:
    return f'{{"features.0.weight": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}'


LIES = {
    "longer than the file": header(tensor(), length=2**20),
    "longer than any memory": header(tensor(), length=2**63),
    "data beyond the end": header(tensor(shape="[4000000000]", offsets="[0, 16000000000]")),
    "data before the start": header(tensor(offsets="[-8, 0]")),
    "backwards": header(tensor(offsets="[8, 0]")),
    "more numbers than bytes": header(tensor(shape="[1000000000000]")),
    "a shape that overflows": header(tensor(shape="[4294967296, 4294967296, 4]")),
    "no numbers": header(tensor(dtype="PICKLE")),
    "nested deeply": header("[" * 100_000),
    "no tensors": header("[]"),
    "NaN for a shape": header(tensor(shape="[NaN]")),
    "negative sizes": header(tensor(shape="[-2, -1]")),
    "a float for a size": header(tensor(shape="[2.0]")),
    "a gap": header(tensor(offsets="[8, 16]"), bytes(16)),
    "more data than tensors": header(tensor(), bytes(16)),
    "a name that is no UTF-8": struct.pack("<Q", 6) + b'{"\xff":' + bytes(8),
    "a name for the terminal": header(tensor(dtype="\\u001b]0;x\\u0007")),
    "so long that it takes a minute": header(tensor() + " " * 2**20),
}
NO_FILES = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(home, lie):
    (home / "vgg.safetensors").write_bytes(LIES[lie])
    with pytest.raises(InputError, match="unreadable weights") as refused:
        load_vgg16(str(home / "vgg.safetensors"))
    assert "\n" not in str(refused.value)


def test_weights_of_another_network_are_refused(home):
    save_file({key: value[:1].clone() for key, value in weights().items()}, home / "vgg.safetensors")
    with pytest.raises(InputError, match="not a VGG16"):
        load_vgg16(str(home / "vgg.safetensors"))


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_holds_no_weights(home, kind):
    NO_FILES[kind](home / "vgg.safetensors")
    with pytest.raises(MissingPartError, match="not found at"):
        load_vgg16(home / "vgg.safetensors")


@pytest.mark.parametrize("name", ["~nobody-of-that-name/vgg.pth", "v" * 5000])
def test_names_that_cannot_be_looked_up(home, name):
    with pytest.raises(MissingPartError, match="not found at"):
        find_vgg16(name)


def test_features_of_our_own_in_the_home_of_nobody():
    overrides = ["loss.features=self", "loss.features_path=~nobody-of-that-name/features.h5"]
    recipe = load_recipe(find_recipe("tiny"), overrides)
    with pytest.raises(MissingPartError, match="are not there"):
        build_features(recipe)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_numbers_that_no_network_has_are_refused(home, kind):
    save_file(weights() | {"features.0.bias": torch.ones(64).to(kind)}, home / "vgg.safetensors")
    with pytest.raises(InputError, match="no floating-point numbers"):
        load_vgg16(home / "vgg.safetensors")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(home, kind):
    save_file({key: value.to(kind) for key, value in weights().items()}, home / "vgg.safetensors")
    bias = load_vgg16(home / "vgg.safetensors").features[0].bias
    assert bias.dtype == torch.float32
    assert (bias - weights()["features.0.bias"]).abs().max() < 0.02


def test_a_file_that_is_cut_short_while_it_is_read(home, monkeypatch):
    """Of a file in mapped memory, reading on would end the process with SIGBUS."""

    def open_and_cut(file, *arguments, **options):
        opened = safe_open(file, *arguments, **options)
        os.truncate(file, 4096)
        return opened

    save_file(weights(), home / "vgg.safetensors")
    monkeypatch.setattr(stages.io.weights, "safe_open", open_and_cut)
    with pytest.raises(InputError, match="unreadable weights"):
        load_vgg16(home / "vgg.safetensors")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_that_are_far_larger_than_vgg16_are_not_read(home, suffix):
    (home / f"vgg.{suffix}").touch()
    os.truncate(home / f"vgg.{suffix}", 40 << 30)
    with pytest.raises(InputError, match="more than 1024 MiB"):
        load_vgg16(home / f"vgg.{suffix}")


def test_a_state_dict_that_unpacks_to_more_is_refused(home):
    torch.save(weights() | {"bomb": torch.zeros(2**24)}, home / "plain.pth")
    with zipfile.ZipFile(home / "plain.pth") as plain, zipfile.ZipFile(home / "bomb.pth", "w", 8) as bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    with pytest.raises(InputError, match="compressed"):
        load_vgg16(home / "bomb.pth")
