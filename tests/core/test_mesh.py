"""The mesh of a depth grid: closed forms, the frame, what is trimmed, and what a camera then sees of it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.camera import apply_view, back_project, rotation
from stages.core.mesh import TRIM, grid_mesh, to_camera, to_world
from stages.core.model import BORDER
from stages.core.view import BACKGROUND, paint_reference, render_mesh, yaw_views
from stages.core.view import FOV as VIEW_FOV

SIZE = 32


def grid(size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """v and u in [-1, 1]."""
    axis = torch.linspace(-1, 1, size)
    return torch.meshgrid(axis, axis, indexing="ij")


def dome(size: int = SIZE) -> torch.Tensor:
    v, u = grid(size)
    return 1.05 - 0.08 * torch.exp(-2 * (u**2 + v**2))


def test_plane_in_closed_form():
    mesh = grid_mesh(torch.full((SIZE, SIZE), 0.98))
    kept = SIZE - 2 * TRIM
    assert mesh.vertices.shape == (kept**2, 3)
    assert mesh.faces.shape == (2 * (kept - 1) ** 2, 3)
    assert torch.allclose(mesh.vertices[:, 2], torch.tensor(0.02), atol=1e-7)
    assert torch.allclose(mesh.normals, torch.tensor([0.0, 0.0, 1.0]).expand_as(mesh.normals), atol=1e-5)
    half = 0.98 * math.tan(math.radians(5)) * (1 - 2 * TRIM / (SIZE - 1))
    first = mesh.vertices[0]  # the picture's upper left corner: left is -x, up is +y
    assert torch.allclose(first[:2], torch.tensor([-half, half]), atol=1e-6)
    assert torch.allclose(mesh.uv[0], torch.tensor([(TRIM + 0.5) / SIZE, 1 - (TRIM + 0.5) / SIZE]))


def test_winding_faces_the_viewer_and_normals_agree_with_it():
    mesh = grid_mesh(dome())
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a)[:, 2] > 0).all()
    assert (mesh.normals[:, 2] > 0).all()
    assert torch.allclose(mesh.normals.norm(dim=1), torch.ones(len(mesh.normals)), atol=1e-6)
    # Outward on a dome: up on its upper half, right on its right half.
    assert (mesh.normals[:, 1] * mesh.vertices[:, 1] > -1e-4).all()
    assert (mesh.normals[:, 0] * mesh.vertices[:, 0] > -1e-4).all()


def test_nose_is_nearest_the_viewer():
    mesh = grid_mesh(dome())
    tip = mesh.vertices[mesh.vertices[:, 2].argmax()]
    assert tip[:2].norm() < 0.005
    assert tip[2] == pytest.approx(0.03, abs=0.002)


def test_the_clamped_border_is_gone():
    depth = dome()
    depth[:, :BORDER] = depth[:, -BORDER:] = 0.9  # a wall in front
    assert grid_mesh(depth).vertices[:, 2].max() < 0.05


def test_a_curtain_at_the_rim_is_cut_and_what_hangs_from_it_falls():
    depth = dome(64)
    depth[:, 6] += 0.06  # one column jumps away: the strips on both its sides are steep, and what is left of it falls
    mesh = grid_mesh(depth)
    columns = (mesh.uv[:, 0] * 64 - 0.5).round()
    assert columns.min() == 7
    assert columns.max() == 63 - TRIM
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert torch.stack([a - b, b - c, c - a]).norm(dim=-1).max() < 0.02


def test_a_steep_step_inside_the_face_stays():
    depth = dome(64)
    depth[28:36, 28:36] -= 0.05
    assert len(grid_mesh(depth).faces) == 2 * (63 - 2 * TRIM) ** 2


def test_a_shape_that_is_rough_all_over_is_kept():
    noise = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    mesh = grid_mesh(0.95 + 0.1 * noise)
    assert len(mesh.faces) == 2 * (SIZE - 1 - 2 * TRIM) ** 2


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), height=st.integers(10, 24), width=st.integers(10, 24), jump=st.floats(0, 0.15))
def test_every_mesh_is_whole(seed, height, width, jump):
    noise = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    mesh = grid_mesh(0.95 + jump * (noise > 0.8) + 0.001 * noise)
    count = len(mesh.vertices)
    assert mesh.faces.unique().tolist() == list(range(count))  # no vertex unused, no index out of range
    assert mesh.normals.isfinite().all()
    assert ((mesh.uv > 0) & (mesh.uv < 1)).all()
    reached = torch.zeros(count, dtype=torch.bool)
    reached[0] = True
    for _ in range(count):
        touched = mesh.faces[reached[mesh.faces].any(1)]
        if reached[touched].all():
            break
        reached[touched] = True
    assert reached.all()  # one piece


def test_input_pose_moves_the_same_mesh_by_the_view():
    view = torch.tensor([0.1, -0.4, 0.2, 0.01, -0.02, 0.03])
    canonical, posed = grid_mesh(dome()), grid_mesh(dome(), view=view)
    assert torch.equal(canonical.faces, posed.faces)
    expected = apply_view(to_camera(canonical.vertices)[None], view[None])[0]
    assert torch.allclose(to_camera(posed.vertices), expected, atol=1e-6)
    turn = rotation(view[None, :3])[0]
    flip = torch.tensor([1.0, -1.0, -1.0])
    assert torch.allclose(posed.normals * flip, (canonical.normals * flip) @ turn.T, atol=1e-4)


def test_half_a_turn_is_its_own_inverse_and_keeps_the_hand():
    points = torch.randn(50, 3)
    assert torch.allclose(to_camera(to_world(points)), points, atol=1e-6)
    axes = to_world(torch.eye(3)) - to_world(torch.zeros(3))
    assert torch.linalg.det(axes) == pytest.approx(1)


@pytest.mark.parametrize("depth", [torch.ones(4, 4), torch.ones(2, 16, 16), torch.full((16, 16), -1.0)])
def test_refuses_what_is_no_depth(depth):
    with pytest.raises(ValueError, match="finite, positive grid"):
        grid_mesh(depth)


def test_refuses_nan():
    depth = dome()
    depth[3, 3] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        grid_mesh(depth)


def test_a_render_is_upright_and_not_mirrored():
    # red upper left, green upper right, blue below
    texture = torch.zeros(3, SIZE, SIZE)
    texture[0, : SIZE // 2, : SIZE // 2] = 1
    texture[1, : SIZE // 2, SIZE // 2 :] = 1
    texture[2, SIZE // 2 :] = 1
    picture = render_mesh(grid_mesh(dome()), texture[None], yaw_views([0]), size=48)[0]
    assert picture[:, 15, 15].tolist() == pytest.approx([1, 0, 0], abs=1e-4)
    assert picture[:, 15, 33].tolist() == pytest.approx([0, 1, 0], abs=1e-4)
    assert picture[:, 35, 24].tolist() == pytest.approx([0, 0, 1], abs=1e-4)
    assert picture[:, 0, 0].tolist() == pytest.approx(BACKGROUND, abs=1e-6)


def test_positive_yaw_turns_the_nose_to_the_right_and_negative_to_the_left():
    v, u = grid()
    spot = ((u**2 + v**2) < 0.02).float()[None].expand(3, -1, -1)
    # A pillar stands out of a plane; the spot on its tip moves the way the face turns.
    depth = 1.0 - 0.06 * torch.exp(-6 * (u**2 + v**2))
    pictures = render_mesh(grid_mesh(depth), spot[None], yaw_views([-25, 0, 25]), size=64)
    across = torch.arange(64.0)
    white = (pictures[:, 0] > 0.95).float()
    left, middle, right = (white.sum(1) * across).sum(1) / white.sum((1, 2))
    assert left + 4 < middle < right - 4
    assert middle == pytest.approx(31.5, abs=0.7)


@pytest.mark.parametrize("count", [32, 256])
def test_texture_is_interpolated_with_perspective(count):
    # The texture holds u itself; a pixel must then show the u at which its ray meets the tilted plane.
    ramp = ((torch.arange(count) + 0.5) / count).expand(3, count, count)
    mesh = grid_mesh(torch.full((count, count), 1.0))
    picture = render_mesh(mesh, ramp[None], yaw_views([35]), size=40)[0, 0]
    slope = math.tan(math.radians(VIEW_FOV / 2)) * torch.linspace(-79, 79, 80) / 78  # x / z through the samples
    turn = math.radians(35)
    # The plane's points at a distance s from its middle: x = s cos t, z = 1 + s sin t.
    s = slope / (math.cos(turn) - slope * math.sin(turn))
    focal = (count - 1) / (2 * math.tan(math.radians(5)))
    expected = ((s * focal + count / 2) / count).reshape(40, 2).mean(1)
    row = picture[20]
    inner = (expected > 0.2) & (expected < 0.8)
    assert inner.sum() > 12
    assert torch.allclose(row[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("fov", [10.0, 13.0])
def test_the_kernel_paints_what_its_twin_paints(fov):
    torch.manual_seed(0)
    textures = torch.nn.functional.interpolate(torch.rand(3, 3, 4, 4), (64, 48), mode="bilinear")
    views = torch.tensor([[0, 0, 0, 0, 0, 0], [0.2, -0.6, 0.1, 0.01, 0, 0], [0, 1.4, 0, 0, 0.02, 0.1]])
    mesh, back = grid_mesh(dome()), (0.2, 0.5, 1.0)
    ours = render_mesh(mesh, textures, views, size=50, fov=fov, background=back)
    twin = render_mesh(mesh, textures, views, size=50, fov=fov, background=back, painter=paint_reference)
    assert ours.shape == (3, 3, 50, 50)
    # One sample in the middle of a triangle stands for four around it: no difference where the texture has no kink.
    assert (ours - twin).abs().max() < 0.02
    assert (ours - twin).abs().mean() < 1e-3
    one = render_mesh(mesh, textures[1:2], views, size=50, fov=fov, background=back)
    assert torch.equal(one[1], ours[1])


def test_edges_are_shades_between_thing_and_background():
    white = torch.ones(1, 3, 8, 8)
    picture = render_mesh(grid_mesh(dome()), white, yaw_views([30]), size=60, background=(0, 0, 0))[0, 0]
    assert {round(4 * float(value)) / 4 for value in picture.unique()} == {0, 0.25, 0.5, 0.75, 1}
    # The plane's edge in closed form: half its width as the camera at 1 m sees it, in pixels from the middle.
    plane = render_mesh(grid_mesh(torch.ones(32, 32)), white, yaw_views([0]), size=60, background=(0, 0, 0))[0, 0]
    half = 59 / 2 * math.tan(math.radians(5)) / math.tan(math.radians(6.5)) * (1 - 2 * TRIM / 31)
    assert float(plane[30].sum()) == pytest.approx(2 * half, abs=0.5)


def test_back_projection_of_the_mesh_is_the_depth():
    depth = dome()
    mesh = grid_mesh(depth)
    column = (mesh.uv[:, 0] * SIZE - 0.5).round().long()
    row = ((1 - mesh.uv[:, 1]) * SIZE - 0.5).round().long()
    assert torch.allclose(to_camera(mesh.vertices), back_project(depth[None])[0, row, column], atol=1e-7)
