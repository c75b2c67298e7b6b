"""Triton kernels of cuda.py: the z-buffer. See reference.py for the equations, cuda.py for what runs when.

Arithmetic is float64 whatever the input; triton takes a plain float argument for a float32, so the camera comes as
compile-time constants. ``points`` (B, V, 3), ``faces`` (F, 3) and the maps (B, H, W) are contiguous.
"""

import triton
import triton.language as tl

from stages.core.raster import cpu

__all__ = ["pack", "scatter", "triangle", "unpack", "vertex"]

DEGENERATE = tl.constexpr(cpu.DEGENERATE)
STRAY = tl.constexpr(cpu.STRAY)
STRICT = tl.constexpr(cpu.STRICT)
WARP = tl.constexpr(32)


@triton.jit
def vertex(points, index):
    """x, y, z of a vertex, float64."""
    x = tl.load(points + 3 * index).to(tl.float64)
    y = tl.load(points + 3 * index + 1).to(tl.float64)
    z = tl.load(points + 3 * index + 2).to(tl.float64)
    return x, y, z


@triton.jit
def triangle(faces, f, drawn, vertices):
    """The corners of triangle f, their indices, and whether all are there; elsewhere vertex 0 stands in."""
    i = tl.load(faces + 3 * f, mask=drawn, other=0)
    j = tl.load(faces + 3 * f + 1, mask=drawn, other=0)
    k = tl.load(faces + 3 * f + 2, mask=drawn, other=0)
    there = drawn & (i >= 0) & (i < vertices) & (j >= 0) & (j < vertices) & (k >= 0) & (k < vertices)
    i = tl.where(there, i, 0).to(tl.int32)
    j = tl.where(there, j, 0).to(tl.int32)
    k = tl.where(there, k, 0).to(tl.int32)
    return i, j, k, there


@triton.jit
def _least(a, b, c):
    return tl.minimum(tl.minimum(a, b), c)


@triton.jit
def _greatest(a, b, c):
    return tl.maximum(tl.maximum(a, b), c)


@triton.jit
def _range(a, b, c, bounded, last, LOOSE: tl.constexpr):
    """First and number of the samples 0 … last within LOOSE of [min, max] of three positions; all if not bounded."""
    low = tl.where(bounded, tl.maximum(_least(a, b, c) - LOOSE, 0.0), 0.0)
    high = tl.where(bounded, tl.minimum(_greatest(a, b, c) + LOOSE, last), last)
    some = low <= high
    first = tl.ceil(tl.where(some, low, 0.0)).to(tl.int32)
    return first, tl.where(some, tl.floor(tl.where(some, high, 0.0)).to(tl.int32) + 1 - first, 0)


@triton.jit
def _prepare(
    points, faces, f, drawn, vertices,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    LOOSE: tl.constexpr,
):  # fmt: skip
    """The box of samples that triangle f may cover, and what is needed to draw it there.

    Returns the box's length, which is 0 for a triangle without an inside, and its breadth; the number of its first
    sample and the steps to the next along p and q; the edge functions aᵢ q + bᵢ p + cᵢ and 1/aᵢ; and the range of
    depths. p counts along the longer side and q across, from the box's first sample on, because far from the origin
    the cross products cancel: that would leave a dozen digits of the depth on an edge that two triangles share.
    """
    i, j, k, drawn = triangle(faces, f, drawn, vertices)
    x0, y0, z0 = vertex(points, i)
    x1, y1, z1 = vertex(points, j)
    x2, y2, z2 = vertex(points, k)
    size = tl.abs(x0) + tl.abs(y0) + tl.abs(z0) + tl.abs(x1) + tl.abs(y1) + tl.abs(z1)
    drawn = drawn & (size + tl.abs(x2) + tl.abs(y2) + tl.abs(z2) < float("inf"))  # nor NaN
    near, far = _least(z0, z1, z2), _greatest(z0, z1, z2)

    x0, y0 = x0 * FOCAL + z0 * CENTRE_U, y0 * FOCAL + z0 * CENTRE_V  # homogeneous sample coordinates
    x1, y1 = x1 * FOCAL + z1 * CENTRE_U, y1 * FOCAL + z1 * CENTRE_V
    x2, y2 = x2 * FOCAL + z2 * CENTRE_U, y2 * FOCAL + z2 * CENTRE_V
    ahead = near > 0
    r0, r1, r2 = 1 / tl.where(ahead, z0, 1.0), 1 / tl.where(ahead, z1, 1.0), 1 / tl.where(ahead, z2, 1.0)
    u, columns = _range(x0 * r0, x1 * r1, x2 * r2, ahead, WIDTH - 1, LOOSE)
    v, rows = _range(y0 * r0, y1 * r1, y2 * r2, ahead, HEIGHT - 1, LOOSE)

    x0, y0, x1, y1, x2, y2 = x0 - u * z0, y0 - v * z0, x1 - u * z1, y1 - v * z1, x2 - u * z2, y2 - v * z2
    a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
    a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
    det = x0 * a0 + y0 * b0 + z0 * c0
    solid = drawn & (far > 0) & (tl.abs(det) > far * far * far * DEGENERATE) & (columns > 0)
    scale = 1 / tl.where(solid, det, 1.0)  # negative when seen from behind
    a0, b0, c0, a1, b1, c1 = a0 * scale, b0 * scale, c0 * scale, a1 * scale, b1 * scale, c1 * scale
    a2, b2, c2 = a2 * scale, b2 * scale, c2 * scale

    tall = rows > columns
    length, breadth = tl.where(solid, tl.maximum(rows, columns), 0), tl.minimum(rows, columns)
    along, across = tl.where(tall, WIDTH, 1), tl.where(tall, 1, WIDTH)
    a0, b0 = tl.where(tall, a0, b0), tl.where(tall, b0, a0)
    a1, b1 = tl.where(tall, a1, b1), tl.where(tall, b1, a1)
    a2, b2 = tl.where(tall, a2, b2), tl.where(tall, b2, a2)
    edges = (a0, b0, c0, a1, b1, c1, a2, b2, c2, _inverse(a0), _inverse(a1), _inverse(a2))
    return length, breadth, (v * WIDTH + u, along, across), edges, near, far


@triton.jit
def _inverse(slope):
    return tl.where(slope == 0, 0.0, 1 / tl.where(slope == 0, 1.0, slope))


@triton.jit
def _clip(low, high, inverse_slope, value):
    """The part of low … high where slope · q + value ≥ 0; an inverse slope of 0 stands for a slope of 0."""
    inverse_slope = tl.broadcast_to(inverse_slope, value.shape)
    crossing = -value * inverse_slope
    low = tl.where((inverse_slope > 0) & (crossing > low), crossing, low)
    high = tl.where((inverse_slope < 0) & (crossing < high), crossing, high)
    return low, tl.where((inverse_slope == 0) & (value < 0), -1.0, high)


@triton.jit
def pack(strict, inverse_depth, f, ID_BITS: tl.constexpr, SHIFT: tl.constexpr):
    """A sample's triangle as an integer ≥ 0 that is greatest for the one to show: [covers it strictly: 1 bit] [inverse
    depth] [number, counted down: ID_BITS]. The bits of a positive float64 sort like the number; all but SHIFT of them
    are kept, rounded and not cut, so that a round depth is no borderline."""
    order = (inverse_depth.to(tl.int64, bitcast=True) + (1 << (SHIFT - 1))) >> SHIFT
    return (strict.to(tl.int64) << 62) | (order << ID_BITS) | ((1 << ID_BITS) - 1 - f)


@triton.jit
def unpack(key, ID_BITS: tl.constexpr):
    """The triangle of a key, -1 for -1."""
    last: tl.constexpr = (1 << ID_BITS) - 1
    return tl.where(key < 0, -1, last - (key & last)).to(tl.int32)


@triton.jit
def _draw(
    keys, f, p, there, breadth, box, edges, near, far,
    LOOSE: tl.constexpr, ID_BITS: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """Leave the triangle's key at the samples p of its box that it covers, walking across from edge to edge: many
    triangles each at the same p, or one at many."""
    first, along, across = box
    a0, b0, c0, a1, b1, c1, a2, b2, c2, inverse_a0, inverse_a1, inverse_a2 = edges
    s0, s1, s2 = tl.abs(a0) + tl.abs(b0), tl.abs(a1) + tl.abs(b1), tl.abs(a2) + tl.abs(b2)
    c0, c1, c2 = b0 * p + c0, b1 * p + c1, b2 * p + c2
    low, high = tl.zeros_like(c0), tl.zeros_like(c0) + (breadth - 1)
    low, high = _clip(low, high, inverse_a0, c0 + s0 * LOOSE)
    low, high = _clip(low, high, inverse_a1, c1 + s1 * LOOSE)
    low, high = _clip(low, high, inverse_a2, c2 + s2 * LOOSE)
    there = there & (low <= high)
    begin = tl.ceil(tl.where(there, low, 0.0)).to(tl.int32)
    end = tl.where(there, tl.floor(tl.where(there, high, 0.0)).to(tl.int32) + 1, 0)
    keys += first + along * p
    for step in range(tl.max(end - begin)):
        q = begin + step
        e0, e1, e2 = a0 * q + c0, a1 * q + c1, a2 * q + c2
        inverse_depth = e0 + e1 + e2
        strict = (e0 >= s0 * -STRICT) & (e1 >= s1 * -STRICT) & (e2 >= s2 * -STRICT)
        astray = (inverse_depth * near > 1 + STRAY) | (inverse_depth * far < 1 - STRAY)
        covered = (q < end) & (strict | (astray == 0)) & (inverse_depth > 0)
        tl.atomic_max(keys + across * q, pack(strict, inverse_depth, f, ID_BITS, SHIFT), mask=covered, sem="relaxed")


@triton.jit
def _draw_alone(
    points, faces, keys, f, vertices,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    LOOSE: tl.constexpr, ID_BITS: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """Draw one triangle with a whole warp, along its box's longer side."""
    length, breadth, box, edges, near, far = _prepare(
        points, faces, f, f >= 0, vertices, FOCAL, CENTRE_U, CENTRE_V, HEIGHT, WIDTH, LOOSE
    )
    for begin in range(0, length, WARP):
        p = begin + tl.arange(0, WARP)
        _draw(keys, f, p, p < length, breadth, box, edges, near, far, LOOSE, ID_BITS, SHIFT)


@triton.jit
def scatter(
    points, faces, keys, vertices, triangles,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    LOOSE: tl.constexpr, ID_BITS: tl.constexpr, SHIFT: tl.constexpr, SMALL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """z-buffer: ``keys`` (B, H, W) int64, -1 to begin with, becomes the greatest key of the triangles at each sample.

    One program draws BLOCK triangles: first those whose boxes have at most SMALL samples, side by side; then the
    others, one after the other.
    """
    blocks = tl.cdiv(triangles, BLOCK)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    points += image * vertices * 3
    keys += image * HEIGHT * WIDTH
    lane = tl.arange(0, BLOCK)
    start = (tl.program_id(0) % blocks) * BLOCK
    f = start + lane
    length, breadth, box, edges, near, far = _prepare(
        points, faces, f, f < triangles, vertices, FOCAL, CENTRE_U, CENTRE_V, HEIGHT, WIDTH, LOOSE
    )
    large = length * breadth > SMALL
    length = tl.where(large, 0, length)
    for p in range(tl.max(length)):
        _draw(keys, f, p, p < length, breadth, box, edges, near, far, LOOSE, ID_BITS, SHIFT)

    left = large.to(tl.int32)
    for _ in range(tl.sum(left)):
        one = tl.min(tl.where(left > 0, lane, BLOCK))
        left = tl.where(lane == one, 0, left)
        _draw_alone(
            points, faces, keys, start + one, vertices,
            FOCAL, CENTRE_U, CENTRE_V, HEIGHT, WIDTH, LOOSE, ID_BITS, SHIFT,
        )  # fmt: skip
