"""Decoding and cropping: every kind of picture comes out as upright RGB; every bad one as a reason, never an error."""

import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from stages.errors import UsageError
from stages.io import crops
from stages.io.crops import Crop, crop_box, crop_boxes, cut, parse_crop, resize_squares
from stages.io.images import LARGEST_PICTURE, UnusableError, decode

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 0, 0], [255, 255, 255]]], np.uint8)


def blocks(scale: int = 16) -> np.ndarray:
    """Six flat squares, 2 rows of 3: says which way is up, and survives JPEG."""
    return COLOURS.repeat(scale, 0).repeat(scale, 1)


def pack(image: Image.Image, format: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    return decode(content)[0]


@pytest.mark.parametrize(
    "format", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "PCX", "ICNS", "ICO", "JPEG2000", "QOI"]
)
def test_formats(format):
    picture = np.tile(blocks()[:, :32], (4, 4, 1)) if format in ("ICNS", "ICO") else blocks()
    options = {"lossless": True} if format == "WEBP" else {"sizes": [(128, 128)]} if format == "ICO" else {}
    if format in ("ICNS", "ICO"):
        picture = picture[:128, :128]
    decoded, stored = decode(pack(Image.fromarray(picture), format, **options))
    assert decoded.dtype == np.uint8
    assert stored == decoded.shape[1::-1]
    if format == "ICNS":
        assert decoded.shape[0] == decoded.shape[1]
    else:
        np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "store"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_exif_orientation(format, orientation, store):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = pack(Image.fromarray(np.ascontiguousarray(store(blocks()))), format, exif=exif, quality=95)
    decoded, stored = decode(content, shrink_to=8)
    assert stored == (48, 32)
    assert decoded.shape[1] * 2 == decoded.shape[0] * 3
    step = decoded.shape[0] // 2
    middle = decoded[step // 2 :: step, step // 2 :: step].astype(int)
    assert np.abs(middle - COLOURS).max() < 40


def test_damaged_exif_is_ignored():
    content = pack(Image.fromarray(blocks()), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(pixels_of(content), blocks())


def test_transparent_pixels_show_white():
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.paste((0, 0, 200, 255), (0, 0, 4, 8))
    picture.putpixel((7, 7), (0, 0, 0, 51))
    decoded = pixels_of(pack(picture, "PNG"))
    assert (decoded[:, :4] == (0, 0, 200)).all()
    assert (decoded[0, 4:] == 255).all()
    assert (decoded[7, 7] == 204).all()


def test_palettes_with_and_without_transparency():
    palette = Image.fromarray(blocks()).quantize(8)
    np.testing.assert_allclose(pixels_of(pack(palette, "PNG")), blocks(), atol=4)
    black = palette.getpixel((20, 20))
    decoded = pixels_of(pack(palette, "PNG", transparency=black))
    assert (decoded[20, 20] == 255).all()


def test_grey_bilevel_and_grey_alpha():
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(pixels_of(pack(Image.fromarray(grey), "PNG")), grey[..., None].repeat(3, 2))
    assert (pixels_of(pack(Image.new("1", (8, 8), 1), "PNG")) == 255).all()
    assert (pixels_of(pack(Image.new("LA", (8, 8), (0, 127)), "PNG")) == 128).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits(format):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    expected = np.rint(values / 257).astype(int)
    decoded = pixels_of(pack(Image.fromarray(values), format)).astype(int)
    assert np.abs(decoded - expected[..., None]).max() <= 1


def test_float_pictures_of_any_range():
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    expected = np.rint(ramp * 255)
    for scale in (1, 255, 65535, 1e6):
        decoded = pixels_of(pack(Image.fromarray(ramp * np.float32(scale)), "TIFF")).astype(int)
        assert np.abs(decoded[..., 0] - expected).max() <= 1
    ramp[0, 0] = np.nan
    assert pixels_of(pack(Image.fromarray(ramp), "TIFF"))[0, 0, 0] == 0


def test_cmyk_and_lab():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for format in ("JPEG", "TIFF"):
        assert np.abs(pixels_of(pack(cmyk, format)).astype(int) - (255, 0, 0)).max() < 4
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    assert np.abs(pixels_of(pack(ImageCms.applyTransform(red, to_lab), "TIFF")).astype(int) - (200, 30, 40)).max() < 6


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(format):
    first, second = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
    lossless = {"lossless": True} if format == "WEBP" else {}
    content = pack(first, format, save_all=True, append_images=[second], **lossless)
    assert (pixels_of(content) == (255, 0, 0)).all()


def test_a_large_jpeg_is_decoded_smaller():
    picture = Image.fromarray(np.full((800, 1600, 3), 90, np.uint8))
    decoded, stored = decode(pack(picture, "JPEG"), shrink_to=200)
    assert stored == (1600, 800)
    assert decoded.shape == (200, 400, 3)
    assert decode(pack(picture, "JPEG"))[0].shape == (800, 1600, 3)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello\n" * 50, "not an image"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "not an image"),
        (
            b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>',
            "not an image",
        ),
        (b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n", "unsafe kind of image"),
        (png_header(60_000, 60_000), "too large"),
        (png_header(12_000, 12_000), "too large"),
        (png_header(100_000, 100_000), "too large"),
        (png_header(100_000, 1300), "truncated image"),
        (png_header(100_000, 4), "too small"),
        (png_header(2**31 - 1, 2**31 - 1), "too large"),
        (png_header(200, 200), "truncated image"),
        (pack(Image.new("RGB", (7, 90)), "PNG"), "too small"),
        (pack(Image.effect_noise((90, 90), 60), "PNG")[:4000], "truncated image"),
        (pack(Image.effect_noise((90, 90), 60), "JPEG")[:2000], "truncated image"),
    ],
)
def test_reasons(content, reason):
    with pytest.raises(UnusableError) as caught:
        decode(content)
    assert str(caught.value).partition(":")[0] == reason
    assert str(caught.value).isprintable()


def progressive(scans: int, between: bytes) -> bytes:
    """A JPEG whose last scan comes over and over; each would cost the decoder time for all 64 million pixels."""
    content = pack(Image.new("L", (8000, 8000)), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (between + last) * scans + content[-2:]


@pytest.mark.parametrize("between", [b"", b"\xff\x01", b"\xff\xd0" + bytes(9), b"\xff" * 100])
def test_a_jpeg_of_thousands_of_scans(between):
    with pytest.raises(UnusableError, match="too many scans"):
        decode(progressive(3000, between))


def test_what_looks_like_scans_but_is_data():
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 2 * 30_000) + b"\xff\xda" * 30_000
    content = pack(Image.fromarray(blocks()), "JPEG", progressive=True)
    np.testing.assert_array_equal(pixels_of(content[:2] + comment + content[2:] + comment), pixels_of(content))


def test_a_side_of_100_000_pixels():
    strip = pack(Image.new("RGB", (100_000, 8), (9, 99, 200)), "PNG")
    assert decode(strip)[0].shape == (8, 100_000, 3)
    (small,) = resize_squares([cut(decode(strip)[0], (0, 0, 100_000, 8), 64)], 64)
    assert (small == (9, 99, 200)).all()


def test_a_float_picture_of_many_blocks_of_rows():
    ramp = np.linspace(0, 300, 8 * 700, dtype=np.float32).reshape(700, 8)
    expected = np.rint(ramp.astype(np.float64) / 65535 * 255)
    np.testing.assert_array_equal(pixels_of(pack(Image.fromarray(ramp), "TIFF"))[..., 0], expected)


PEAK = """
import resource, sys
from stages.io.images import decode
decode(sys.stdin.buffer.read(), 64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "format"), [("RGBA", "PNG"), ("I;16", "PNG"), ("F", "TIFF"), ("LA", "PNG")])
def test_the_largest_picture_stays_within_3_gib(mode, format):
    """A bomb of half a megabyte, as large as is allowed."""
    side = int(LARGEST_PICTURE**0.5)
    options = {"compression": "tiff_adobe_deflate"} if format == "TIFF" else {}
    bomb = pack(Image.new(mode, (side, side)), format, **options)
    assert len(bomb) < 2**20
    done = subprocess.run([sys.executable, "-c", PEAK], input=bomb, capture_output=True)
    assert int(done.stdout) < 3 * 1024, done.stderr
    print(f"{mode}: {int(done.stdout)} MiB")


SAMPLES = [
    pack(Image.fromarray(blocks()), format)
    for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX", "JPEG2000", "QOI", "DDS")
]


@settings(max_examples=200)
@given(st.sampled_from(SAMPLES), st.data())
def test_damage_never_gets_through(sample, data):
    """Cut and overwritten anywhere: a picture or a reason."""
    content = bytearray(sample[: data.draw(st.integers(0, len(sample)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded, _ = decode(bytes(content), shrink_to=64)
    except UnusableError:
        pass
    else:
        assert decoded.ndim == 3
        assert decoded.shape[2] == 3
        assert decoded.dtype == np.uint8


# -- crops ------------------------------------------------------------------------------------------------------------


def test_parse_crop():
    assert parse_crop("face").kind == "face"
    assert parse_crop("none") == Crop("none")
    assert parse_crop("1") == parse_crop("center") == Crop("center", 1.0)
    assert parse_crop("0.75") == Crop("center", 0.75)
    assert parse_crop("cat:0.9") == Crop("cat", 0.9)
    assert parse_crop("cat:0.9:-0.1") == Crop("cat", 0.9, -0.1)
    for wrong in ("1e-320", "1.2", "-1", "nan", "inf", "mid", "", "cat:", "cat:x", "center:0.5", "none:1", "cat:1:0:0"):
        with pytest.raises(UsageError, match="use center, face, cat, none"):
            parse_crop(wrong)
    for wrong in ("cat:0", "face:nan", "face:5", "cat:-1", "cat:1:2", "cat:1:inf"):
        with pytest.raises(UsageError, match=r"use a factor from 0\.25 to 4 and a shift from -1 to 1"):
            parse_crop(wrong)


@given(st.sampled_from(["", "cat:", "face:", "cat:1:"]), st.text(alphabet=".-+e0123456789:", max_size=6))
def test_a_crop_is_written_as_it_is_read(kind, numbers):
    try:
        crop = parse_crop(kind + numbers)
    except UsageError:
        return
    assert parse_crop(crop.text) == crop


def test_centre_boxes():
    picture = np.zeros((60, 101, 3), np.uint8)
    assert crop_box(picture, Crop("center")) == (20, 0, 80, 60)
    assert crop_box(picture, Crop("center", 0.5)) == (35, 15, 65, 45)
    assert crop_box(picture, Crop("none")) == (0, 0, 101, 60)
    assert crop_box(picture, Crop("center", 1e-9))[2] == 51


@pytest.mark.parametrize("kind", ["face", "cat"])
@pytest.mark.parametrize("shape", [(200, 300), (8, 3000), (3000, 8), (8, 8), (64, 64)])
def test_no_face(kind, shape):
    with pytest.raises(UnusableError, match="face found"):
        crop_box(np.full((*shape, 3), 127, np.uint8), Crop(kind))


@settings(max_examples=200)
@given(st.integers(8, 900), st.integers(8, 900), st.floats(-300, 900), st.floats(-300, 900), st.floats(1, 900))
def test_detections_become_squares_inside_the_picture(height, width, x, y, side):
    for crop in (Crop("face"), Crop("cat"), Crop("cat", 4.0, -1.0), Crop("face", 0.25, 1.0)):
        x0, y0, x1, y1 = crops._inside((x, y, x + side, y + side), crop, height, width)
        assert x1 - x0 == y1 - y0 >= 1
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_a_detection_in_the_middle_gets_its_margin():
    x0, y0, x1, y1 = crops._inside((400, 400, 500, 500), Crop("face"), 1000, 1000)
    assert (x1 - x0, (x0 + x1) / 2, (y0 + y1) / 2) == (108, 450, 460)
    x0, y0, x1, y1 = crops._inside((400, 400, 500, 500), Crop("face", 2.0, 0.25), 1000, 1000)
    assert (x1 - x0, (x0 + x1) / 2, (y0 + y1) / 2) == (216, 450, 460 + 54)


def test_of_boxes_in_one_place_only_the_largest_counts(monkeypatch):
    found = np.array([[240, 240, 50, 50], [400, 260, 40, 40], [230, 230, 80, 80]])

    class Finds:
        def detectMultiScale(self, *_, **__):
            return found

    monkeypatch.setattr(crops, "_cascade", lambda kind: Finds())
    boxes = crop_boxes(np.zeros((640, 640, 3), np.uint8), Crop("face"))
    assert [round(x1 - x0) for x0, _, x1, _ in boxes] == [86, 43]
    assert crop_box(np.zeros((640, 640, 3), np.uint8), Crop("face")) == boxes[0]


def test_same_size_is_left_alone_and_flat_stays_flat():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_squares([noise], 64)[0], noise)
    for side in (8, 50, 80, 127, 500, 1100):
        part = cut(np.full((side, side, 3), 77, np.uint8), (0, 0, side, side), 64)
        assert (resize_squares([part], 64) == 77).all()


def test_antialiased():
    """A pattern finer than the result can show must become its mean, not a coarser pattern."""
    for side in (256, 640, 1500):
        stripes = np.zeros((side, side, 3), np.uint8)
        stripes[:, ::2] = 255
        small = resize_squares([cut(stripes, (0, 0, side, side), 64)], 64)
        assert np.abs(small.astype(int) - 127.5).max() < 12


def test_a_ramp_keeps_its_place():
    """Pixel centres: the result's pixel i stands for the source's (i + 1/2) · side / 64 - 1/2."""
    for side in (32, 100, 512, 1024):
        ramp = np.broadcast_to(np.linspace(0, 255, side)[None, :, None], (side, side, 3)).round().astype(np.uint8)
        small = resize_squares([cut(ramp, (0, 0, side, side), 64)], 64)[0, 32, :, 0].astype(float)
        expected = ((np.arange(64) + 0.5) * side / 64 - 0.5) * 255 / (side - 1)
        assert np.abs(small - expected)[4:-4].max() < 2


def test_mixed_sizes_keep_their_order():
    parts = [np.full((side, side, 3), side, np.uint8) for side in (64, 80, 90, 80, 64, 200)]
    assert [int(square[0, 0, 0]) for square in resize_squares(parts, 64)] == [64, 80, 90, 80, 64, 200]


def test_squeezed_pictures():
    tall = np.zeros((1000, 9, 3), np.uint8)
    tall[500:] = 200
    small = resize_squares([cut(tall, (0, 0, 9, 1000), 64)], 64)[0]
    assert small.shape == (64, 64, 3)
    assert small[:30].max() < 5 < 195 < small[34:].min()
