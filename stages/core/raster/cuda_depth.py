"""Triton kernels of cuda.py: the depth of the triangles that the z-buffer shows, and its gradient.

Likewise in float64, with the camera as compile-time constants. ``samples`` are all those of the batch, B·H·W.
"""

import triton
import triton.language as tl

from stages.core.raster.cuda_zbuffer import triangle, unpack, vertex

__all__ = ["gather", "plane", "resolve", "spread"]

INFINITE = tl.constexpr(2047)  # the biased exponent of a float64 that is infinite or no number


@triton.jit
def _ray(sample, FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, WIDTH: tl.constexpr):
    """x and y of the point at depth 1 behind a sample of an image, counted row by row."""
    column, row = (sample % WIDTH).to(tl.float64), (sample // WIDTH).to(tl.float64)
    return (column - CENTRE_U) / FOCAL, (row - CENTRE_V) / FOCAL


@triton.jit
def _store_depth(
    points, faces, f, depth, valid, sample, inside, vertices, triangles,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """(n·v₀)/(n·r) of triangle f at each sample, counted through the batch; 0 and not valid where there is none."""
    points += sample // (HEIGHT * WIDTH) * vertices * 3
    rx, ry = _ray((sample % (HEIGHT * WIDTH)).to(tl.int32), FOCAL, CENTRE_U, CENTRE_V, WIDTH)
    i, j, k, seen = triangle(faces, f, inside & (f >= 0) & (f < triangles), vertices)
    x0, y0, z0 = vertex(points, i)
    x1, y1, z1 = vertex(points, j)
    x2, y2, z2 = vertex(points, k)
    x1, y1, z1, x2, y2, z2 = x1 - x0, y1 - y0, z1 - z0, x2 - x0, y2 - y0, z2 - z0
    nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    towards = tl.where(seen, nx * rx + ny * ry + nz, 1.0)
    tl.store(depth + sample, tl.where(seen, (nx * x0 + ny * y0 + nz * z0) / towards, 0.0), mask=inside)
    tl.store(valid + sample, seen, mask=inside)


@triton.jit
def resolve(
    keys, points, faces, face, depth, valid, samples, vertices, triangles,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    ID_BITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the z-buffer's keys to face (-1 where there is none), depth and valid."""
    sample = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = sample < samples
    f = unpack(tl.load(keys + sample, mask=inside, other=-1), ID_BITS)
    tl.store(face + sample, f, mask=inside)
    _store_depth(
        points, faces, f, depth, valid, sample, inside, vertices, triangles, FOCAL, CENTRE_U, CENTRE_V, HEIGHT, WIDTH
    )


@triton.jit
def plane(
    face, points, faces, depth, valid, samples, vertices, triangles,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """From face to depth and valid."""
    sample = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = sample < samples
    f = tl.load(face + sample, mask=inside, other=-1)
    _store_depth(
        points, faces, f, depth, valid, sample, inside, vertices, triangles, FOCAL, CENTRE_U, CENTRE_V, HEIGHT, WIDTH
    )


@triton.jit
def _power(exponent):
    """2 ** (exponent - 1023), exactly."""
    return (exponent << 52).to(tl.float64, bitcast=True)


@triton.jit
def _add(sums, index, total, cx, cy, cz, wanted, BITS: tl.constexpr, MEASURE: tl.constexpr):
    """Note the exponent of a vertex's contribution, or add the contribution to its sums, in units that follow from
    the greatest exponent noted. Neither result depends on the order of the calls."""
    if MEASURE:
        # Of the sum, because it is NaN if any of the three is.
        exponent = (tl.abs(cx) + tl.abs(cy) + tl.abs(cz)).to(tl.int64, bitcast=True) >> 52
        tl.atomic_max(sums + index, exponent, mask=wanted, sem="relaxed")
    else:
        exponent = tl.load(sums + index, mask=wanted, other=INFINITE)
        wanted = wanted & (exponent < INFINITE)
        unit = _power(BITS + 2045 - tl.maximum(exponent, BITS))
        x = tl.where(wanted, cx * unit, 0.0).to(tl.int64)
        y = tl.where(wanted, cy * unit, 0.0).to(tl.int64)
        z = tl.where(wanted, cz * unit, 0.0).to(tl.int64)
        tl.atomic_add(sums + total + index, x, mask=wanted, sem="relaxed")
        tl.atomic_add(sums + 2 * total + index, y, mask=wanted, sem="relaxed")
        tl.atomic_add(sums + 3 * total + index, z, mask=wanted, sem="relaxed")


@triton.jit
def spread(
    face, grad_depth, points, faces, sums, samples, vertices, triangles, total,
    FOCAL: tl.constexpr, CENTRE_U: tl.constexpr, CENTRE_V: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    BITS: tl.constexpr, MEASURE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Bring each sample's gradient to the three vertices of the triangle that it sees.

    A vertex that moves by δ moves the depth by β (n·δ)/(n·r), β its perspective-correct barycentric weight. ``sums``
    (4, total) int64, 0 to begin with, are of all B·V = total vertices the greatest exponent of a contribution and the
    sums of its three components.
    """
    sample = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = sample < samples
    f = tl.load(face + sample, mask=inside, other=-1)
    g = tl.load(grad_depth + sample, mask=inside, other=0).to(tl.float64)
    base = sample // (HEIGHT * WIDTH) * vertices
    rx, ry = _ray((sample % (HEIGHT * WIDTH)).to(tl.int32), FOCAL, CENTRE_U, CENTRE_V, WIDTH)
    i, j, k, seen = triangle(faces, f, (f >= 0) & (f < triangles) & (g != 0), vertices)
    x0, y0, z0 = vertex(points + 3 * base, i)
    x1, y1, z1 = vertex(points + 3 * base, j)
    x2, y2, z2 = vertex(points + 3 * base, k)
    ax, ay, az = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    bx, by, bz = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
    cx, cy, cz = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
    e0, e1, e2 = ax * rx + ay * ry + az, bx * rx + by * ry + bz, cx * rx + cy * ry + cz
    towards = tl.where(seen, e0 + e1 + e2, 1.0)
    scale = g / (towards * towards)
    nx, ny, nz = (ax + bx + cx) * scale, (ay + by + cy) * scale, (az + bz + cz) * scale
    _add(sums, base + i, total, e0 * nx, e0 * ny, e0 * nz, seen, BITS, MEASURE)
    _add(sums, base + j, total, e1 * nx, e1 * ny, e1 * nz, seen, BITS, MEASURE)
    _add(sums, base + k, total, e2 * nx, e2 * ny, e2 * nz, seen, BITS, MEASURE)


@triton.jit
def gather(sums, grad, total, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """The sums of :func:`spread` as the gradient (B, V, 3); NaN for a vertex that got an infinity or a NaN."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    exponent = tl.load(sums + at, mask=inside, other=0)
    unit = tl.where(exponent < INFINITE, _power(tl.maximum(exponent, BITS) + 1 - BITS), float("nan"))
    tl.store(grad + 3 * at, tl.load(sums + total + at, mask=inside, other=0) * unit, mask=inside)
    tl.store(grad + 3 * at + 1, tl.load(sums + 2 * total + at, mask=inside, other=0) * unit, mask=inside)
    tl.store(grad + 3 * at + 2, tl.load(sums + 3 * total + at, mask=inside, other=0) * unit, mask=inside)
