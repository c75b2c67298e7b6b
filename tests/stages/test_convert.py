"""Importing the reference's checkpoints: exact weights, and not one instruction of the file carried out."""

import contextlib
import io
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from stages.convert import ImportRequest, run
from stages.errors import InputError, OutputError
from stages.io.foreign import read_torch_checkpoint
from stages.io.pickles import Call, PickleError, read_pickle
from stages.loading import load_model
from stages.predict import predict
from stages.recipe import ModelSection

from .small import small_model

NETS = ("netD", "netA", "netL", "netV", "netC")
formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Touch:
    """Unpickling one makes a file: the proof that something was carried out."""

    def __init__(self, path, how):
        self.path, self.how = str(path), how

    def __reduce__(self):
        if self.how == "system":
            return os.system, (f"touch {self.path}",)
        if self.how == "eval":
            return eval, (f"open({self.path!r}, 'w').close()",)
        return Setter, (), {"path": self.path}


class Setter:
    def __setstate__(self, state):
        open(state["path"], "w").close()


def reference(size=64, seed=0, without=(), **more):
    """What the reference saves: a state dict per network, the optimisers, and its training history."""
    model = small_model(size, seed)[0]
    states = {net: getattr(model, net).state_dict() for net in NETS if net not in without}
    optimizer = torch.optim.Adam(model.netV.parameters())
    model.netV(torch.zeros(1, 3, size, size)).sum().backward()
    optimizer.step()
    return model, {**states, "optimizerV": optimizer.state_dict(), "epoch": 30, **more}


def save(path, content, zipped=True, **options):
    torch.save(content, path, _use_new_zipfile_serialization=zipped, **options)
    return path


@formats
def test_weights_are_exact_and_the_result_infers(tmp_path, zipped):
    model, content = reference(seed=4)
    source = save(tmp_path / "ref.pth", content, zipped)
    result = run(ImportRequest(source, tmp_path / "out.h5"))
    assert (result.size, result.width, result.confidence, result.epoch) == (64, 0.0625, True, 30)
    assert result.left_out == ()
    loaded = load_model(tmp_path / "out.h5")
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    assert predict(loaded.model, np.zeros((1, 64, 64, 3), np.uint8))["depth"].shape == (1, 64, 64)
    assert loaded.recipe.model.max_translation_z == 0.1


@formats
def test_a_class_that_no_longer_exists(tmp_path, zipped, monkeypatch):
    module = types.ModuleType("unsup3d_of_the_reference")
    history = type("MetricsTrace", (), {"__module__": module.__name__})
    module.MetricsTrace = history
    monkeypatch.setitem(sys.modules, module.__name__, module)
    trace = history()
    trace.data = {"train": [{"loss": 1.0}], "array": np.float64(2.0), "device": torch.device("cpu")}
    source = save(tmp_path / "ref.pth", reference(metrics_trace=trace)[1], zipped)
    monkeypatch.delitem(sys.modules, module.__name__)
    run(ImportRequest(source, tmp_path / "out.h5"))
    assert module.__name__ not in sys.modules


@formats
@pytest.mark.parametrize("how", ["system", "eval", "setstate"])
def test_nothing_in_the_file_is_carried_out(tmp_path, zipped, how):
    trap = tmp_path / "carried-out"
    touch = Touch(trap, how)
    content = reference(metrics_trace=touch)[1]
    content["optimizerV"] = {"state": {0: {"exp_avg": [touch]}}, "param_groups": ({"lr": touch},)}
    content["extra"] = {touch: 1, "deep": [[[touch]]]} if how == "setstate" else {"deep": [[[touch]]]}
    source = save(tmp_path / "ref.pth", content, zipped)
    run(ImportRequest(source, tmp_path / "out.h5"))
    assert not trap.exists()
    call, arguments, *state = touch.__reduce__()  # what an unpickler would do
    made = call(*arguments)
    for values in state:
        made.__setstate__(values)
    assert trap.exists(), "the trap itself works"


@pytest.mark.parametrize("how", ["system", "eval", "setstate"])
def test_traps_among_the_weights_are_refused(tmp_path, how):
    content = reference()[1]
    content["netD"]["network.0.weight"] = Touch(tmp_path / "carried-out", how)
    source = save(tmp_path / "ref.pth", content)
    with pytest.raises(InputError, match="has no weights for netD"):
        run(ImportRequest(source, tmp_path / "out.h5"))
    assert not (tmp_path / "carried-out").exists()
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_only_looked_at(tmp_path, protocol):
    trap = tmp_path / "carried-out"
    content = {"a": [1, -2, 2**80, 1.5, True, None, "é", b"b"], "t": (1, (2, 3)), "e": Touch(trap, "system")}
    found = read_pickle(io.BytesIO(pickle.dumps(content, protocol)))
    assert found["a"][:7] == content["a"][:7]
    assert found["t"] == content["t"]
    assert isinstance(found["e"], Call)
    assert found["e"].function.name == "system"
    assert not trap.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02",
        b"garbage",
        b"\x80\x02.",  # stops with nothing on the stack
        b"\x80\x02h\x05.",  # an entry of the memo that is not there
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a string longer than the file
        b"\x80\x02]s.",
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"0.",
    ],
)
def test_damaged_pickles(data):
    with pytest.raises(PickleError):
        read_pickle(io.BytesIO(data))


def test_a_key_that_would_take_for_ever_to_hash():
    bomb = b"\x80\x02}(K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01u."
    assert read_pickle(io.BytesIO(bomb)) == {}


def test_parameters_views_and_other_precisions(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "parameter": nn.Parameter(torch.ones(2, 3)),
        "view": base[1:, ::2],
        "turned": base.T,
        "double": torch.tensor([0.5], dtype=torch.float64),
        "half": torch.tensor([0.25], dtype=torch.float16),
    }
    for zipped in (True, False):
        found = read_torch_checkpoint(save(tmp_path / "s.pth", {"net": state, "epoch": 3}, zipped))
        assert found.numbers == {"epoch": 3}
        for name, tensor in state.items():
            np.testing.assert_array_equal(found.states["net"][name], tensor.detach().numpy())


@pytest.mark.parametrize("size", [128, 256])
def test_the_size_follows_from_the_weights(tmp_path, size):
    source = save(tmp_path / "ref.pth", reference(size)[1])
    assert run(ImportRequest(source, tmp_path / "out.h5")).size == size


def test_without_confidence_maps(tmp_path):
    source = save(tmp_path / "cars.pth", reference(without=("netC",))[1])
    cars = ModelSection(diffuse=(0.5, 1.0), border_depth=1.08, size=256, width=2.0, convex_prior=1.0)
    request = ImportRequest(source, tmp_path / "out.h5", cars)
    assert not run(request).confidence
    model = load_model(tmp_path / "out.h5").model
    assert model.netC is None
    assert (model.diffuse, model.border_depth) == ((0.5, 1.0), 1.08)
    assert model.size == 64  # what the file itself says counts
    assert not model.prior.any()


def test_files_that_are_no_such_checkpoint(tmp_path):
    _, content = reference()
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").touch()
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as archive:
        archive.writestr("a.txt", "hello")
    for name, what in {
        "nowhere.pth": "no such file",
        "text.pth": "cannot be read as a torch checkpoint",
        "empty.pth": "cannot be read as a torch checkpoint",
        "photos.pth": "not one that torch.save wrote",
        ".": "is a folder",
    }.items():
        with pytest.raises(InputError, match=what):
            run(ImportRequest(tmp_path / name, tmp_path / "out.h5"))

    def refused(what, **changed):
        source = save(tmp_path / "ref.pth", {**content, **changed})
        with pytest.raises(InputError, match=what) as caught:
            run(ImportRequest(source, tmp_path / "out.h5"))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out.h5").exists()

    some = dict(list(content["netA"].items())[:-1])
    refused("has no weights for netL", netL={})
    refused("missing netA", netA=some)
    refused("unknown netA.more", netA={**content["netA"], "more": torch.zeros(2)})
    refused("is .* and not", netA={**some, list(content["netA"])[-1]: torch.zeros(2, 4, 5, 5)})
    refused("not finite", netL={key: value * torch.nan for key, value in content["netL"].items()})
    refused("not finite", netL={key: value.double() + 1e300 for key, value in content["netL"].items()})
    refused("viewpoint network is not the method's", netV={"network.0.weight": torch.zeros(4, 3, 4, 4)})
    refused("no floating-point numbers", netL={key: value.int() for key, value in content["netL"].items()})
    with pytest.raises(InputError, match="holds no dictionary"):
        run(ImportRequest(save(tmp_path / "list.pth", [1, 2]), tmp_path / "out.h5"))


@formats
def test_truncated_anywhere(tmp_path, zipped):
    whole = save(tmp_path / "ref.pth", reference()[1], zipped).read_bytes()
    cut = tmp_path / "cut.pth"
    for length in np.linspace(1, len(whole) - 1, 25, dtype=int):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError):
            run(ImportRequest(cut, tmp_path / "out.h5"))


def test_flipped_bytes_end_in_an_import_or_an_input_error(tmp_path):
    rng = np.random.default_rng(0)
    for zipped in (True, False):
        whole = save(tmp_path / "ref.pth", reference()[1], zipped).read_bytes()
        start = whole.find(b"\x80\x02")  # where pickles begin: the densest part
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[start + rng.integers(0, 4000)] ^= 1 << rng.integers(0, 8)
            (tmp_path / "bad.pth").write_bytes(damaged)
            with contextlib.suppress(InputError):
                run(ImportRequest(tmp_path / "bad.pth", tmp_path / "out.h5", overwrite=True))


def test_storages_that_claim_more_than_there_is(tmp_path):
    whole = save(tmp_path / "ref.pth", {"net": {"w": torch.zeros(7)}}).read_bytes()
    larger = whole.replace(b"K\x07", b"K\x70")
    (tmp_path / "large.pth").write_bytes(larger)
    with pytest.raises(InputError):
        read_torch_checkpoint(tmp_path / "large.pth")


def test_an_output_is_kept_unless_told(tmp_path):
    source = save(tmp_path / "ref.pth", reference()[1])
    (tmp_path / "out.h5").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        run(ImportRequest(source, tmp_path / "out.h5"))
    assert (tmp_path / "out.h5").read_text() == "precious"
    run(ImportRequest(source, tmp_path / "out.h5", overwrite=True))
    assert load_model(tmp_path / "out.h5").model.size == 64
