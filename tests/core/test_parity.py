"""Our forward pass against the reference implementation's, with weights both can compute (the fixture's README)."""

import numpy as np
import pytest
import torch

from stages.core.geometry import depth_normals
from stages.core.losses import photometric
from stages.core.model import Sym3D


def ruled_weights(model: Sym3D, seed: int) -> None:
    """Fill every parameter by the rule that the reference's parity fixtures were computed with."""
    for name, parameter in model.named_parameters():
        rng = np.random.default_rng([seed, *name.encode()])
        values = rng.standard_normal(tuple(parameter.shape))
        if parameter.ndim == 4:
            values *= np.sqrt(2 / np.prod(parameter.shape[1:]))
        else:
            values = 0.1 * values + (1 if name.endswith("weight") else 0)
        parameter.data = torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="module")
def reference(shared):
    path = shared / "parity" / "reference_seed11.npz"
    if not path.is_file():
        pytest.skip("parity fixture not present")
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(path).items()}


@pytest.fixture(scope="module")
def ours(reference):
    # The fixture was computed on a torch whose grid_sample defaults to align_corners=False; the method has True.
    model = Sym3D(max_translation_z=0.1, align_corners=False).eval()
    ruled_weights(model, 11)
    image = reference["images"].permute(0, 3, 1, 2).float() / 255 * 2 - 1
    with torch.no_grad():
        factors = model.predict(image)
        both = factors.stack(factors.flipped())
        return {"model": model, "image": image, "factors": factors, "both": both, "rec": model.render(both),
                "raw": model.netD(image)[:, 0]}  # fmt: skip


def assert_close(name, actual, expected, atol, share=1.0):
    expected = expected.float()
    actual = actual.reshape(expected.shape)
    within = ((actual - expected).abs() <= atol).float().mean().item()
    assert within >= share, f"{name}: {within:.5f} of the values within {atol}, {share} needed"


def test_factors_match(ours, reference):
    both = ours["both"]
    assert_close("raw depth", ours["raw"], reference["canon_depth_raw"], 5e-5)
    assert_close("depth", both.depth, reference["canon_depth"], 5e-6)
    assert_close("albedo", both.albedo, reference["canon_albedo"], 5e-5)
    assert_close("ambient", both.ambient, reference["light_ambient"], 1e-6)
    assert_close("diffuse", both.diffuse, reference["light_diffuse"], 1e-6)
    assert_close("light", both.light_direction, reference["light_direction"], 1e-6)
    assert_close("view", both.view, reference["view"], 3e-6)
    assert_close("σ", ours["factors"].confidence, reference["conf_l1"], 5e-5)
    assert_close("perceptual σ", ours["factors"].perceptual_confidence, reference["conf_perc"], 5e-5)


def test_normals_match_up_to_the_references_short_length(ours, reference):
    unit = torch.nn.functional.normalize(reference["canon_normal"].float(), dim=-1)
    assert_close("normal", ours["rec"].normal, unit, 2e-4)
    assert_close("shaded", ours["rec"].canonical_image, reference["canon_shaded"], 5e-3)


def test_rendered_depth_is_exact(ours, reference):
    exact = reference["recon_depth_exact"].nan_to_num(1.2).clamp(0.8, 1.2)
    assert_close("depth in view", ours["rec"].depth, exact, 1e-5, share=0.9999)
    assert_close(
        "depth in view, reference's rasteriser", ours["rec"].depth, reference["recon_depth"], 1e-5, share=0.999
    )


def test_reconstruction_and_losses_match(ours, reference):
    count = len(ours["image"])
    rec, factors = ours["rec"], ours["factors"]
    mask = rec.valid[:count] & rec.valid[count:]
    image = rec.image * mask.repeat(2, 1, 1)[:, None]
    assert_close("reconstruction", image, reference["recon_image"], 5e-3, share=0.999)
    normal = torch.nn.functional.normalize(reference["recon_normal"].float(), dim=-1)
    assert_close("normal in view", depth_normals(rec.depth), normal, 5e-4, share=0.998)
    for branch, key in enumerate(("loss_photometric", "loss_photometric_flip")):
        part = image[branch * count : (branch + 1) * count]
        loss = photometric(part, ours["image"], mask, factors.confidence[:, branch])
        assert loss.item() == pytest.approx(reference[key].item(), rel=2e-3)


def test_identity_view_gives_the_canonical_image_back(ours):
    model = Sym3D(width=0.1).eval()
    with torch.no_grad():
        factors = model.predict(ours["image"])
        seen = model.render(factors, view=torch.zeros(len(ours["image"]), 6))
    assert seen.valid.all()
    torch.testing.assert_close(seen.image, seen.canonical_image, atol=1e-4, rtol=0)
