from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from darts_core.data import decode as module
from darts_core.data.decode import FileReader, FileRef, ImageForm, UnreadableImageError, decode, without_remarks

RGB = ImageForm(3)
GREY = ImageForm(1)
COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def test_rgb_comes_through_unchanged() -> None:
    out, grey = decode(saved(Image.fromarray(COLOURS)), RGB)
    np.testing.assert_array_equal(out, COLOURS.transpose(2, 0, 1))
    assert (out.dtype, grey) == (np.uint8, False)


def test_grey_becomes_one_or_three_equal_channels() -> None:
    data = saved(Image.fromarray(COLOURS[..., 0]))
    one, three = decode(data, GREY)[0], decode(data, RGB)[0]
    np.testing.assert_array_equal(one, COLOURS[None, ..., 0])
    np.testing.assert_array_equal(three, np.repeat(one, 3, axis=0))
    assert decode(data, RGB)[1]


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_grey_is_resized_alike_in_one_and_three_channels(resize: str) -> None:
    data = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 47), dtype=np.uint8)))
    one, three = (decode(data, ImageForm(channels, 20, resize))[0] for channels in (1, 3))
    np.testing.assert_array_equal(three, np.repeat(one, 3, axis=0))


def test_colour_to_grey_is_luminance() -> None:
    out, grey = decode(saved(Image.new("RGB", (2, 2), (0, 255, 0))), GREY)
    assert (out == 150).all()
    assert not grey


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 257, 32768, 65407, 65535]], dtype=np.uint16)
    for data in (saved(Image.fromarray(values)), saved(Image.fromarray(values), "TIFF")):
        out, grey = decode(data, GREY)
        assert out.tolist() == [[[0, 0, 1, 128, 255, 255]]]
        assert grey


@pytest.mark.parametrize("modes", [("I", "I;16B"), ("I;16", "I;16B")], ids=["as older PIL", "as newer PIL"])
@pytest.mark.parametrize("brightest", [200, 65535])
def test_sixteen_bit_png_in_every_release_of_pil(modes: tuple[str, str], brightest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(np.array([[0, brightest]], dtype=np.uint16)))
    monkeypatch.setitem(PngImagePlugin._MODES, (16, 0), modes)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == modes[0]
    out, grey = decode(data, GREY)
    assert out.tolist() == [[[0, round(brightest * 255 / 65535)]]], "also a dark image is one of 16 bit"
    assert grey


@pytest.mark.parametrize("largest", [255, 65535])
def test_numbers_in_a_wider_mode_are_of_the_range_that_they_fill(largest: int) -> None:
    values = np.array([[0, largest // 5, largest]], dtype=np.int32)
    out, grey = decode(saved(Image.fromarray(values), "TIFF"), GREY)
    assert (out.tolist(), grey) == ([[[0, 51, 255]]], True)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(values), "TIFF"), RGB)[0][1], out[0])


def test_dark_numbers_in_a_wider_mode_are_not_brightened() -> None:
    out, _ = decode(saved(Image.fromarray(np.array([[0, 7, 90]], dtype=np.int32)), "TIFF"), GREY)
    assert out.tolist() == [[[0, 7, 90]]]


def tiff(values: list[int], *, bits: int, is_signed: bool = False) -> bytes:
    """A grey TIFF of one row, little endian, written by hand: PIL does not write these kinds."""
    packed = b"".join(struct.pack("<h" if is_signed else "<H", value) for value in values)
    if bits == 12:  # two numbers in three bytes, high bits first
        pairs = zip(values[::2], values[1::2], strict=True)
        packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    fields = {256: len(values), 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(packed), 339: 2 if is_signed else 1}
    packed += b"\0" * (len(packed) % 2)
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in fields.items())
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(fields)) + entries + b"\0\0\0\0"


def test_twelve_bit_tiff_reaches_white() -> None:
    data = tiff([0, 819, 2048, 4095], bits=12)
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).tolist() == [[0, 819, 2048, 4095]], "the file is not what this test takes it for"
    assert decode(data, GREY)[0].tolist() == [[[0, 51, 128, 255]]]


def test_sixteen_bit_tiff_signed_and_unsigned() -> None:
    assert decode(tiff([0, 200, 257, 65535], bits=16), GREY)[0].tolist() == [[[0, 1, 1, 255]]]
    assert decode(tiff([0, 200], bits=16, is_signed=True), GREY)[0].tolist() == [[[0, 200]]]
    assert decode(tiff([0, 25700], bits=16, is_signed=True), GREY)[0].tolist() == [[[0, 100]]]
    with pytest.raises(UnreadableImageError, match="whole numbers from -1 to 200; expected 8 or 16 bit"):
        decode(tiff([-1, 200], bits=16, is_signed=True), GREY)


def test_sixteen_bit_pgm_is_scaled_by_what_it_says() -> None:
    for maximum, value in ((65535, 200), (1000, 1000)):
        data = f"P5 1 1 {maximum}\n".encode() + struct.pack(">H", value)
        assert decode(data, GREY)[0].tolist() == [[[round(255 * value / maximum)]]]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(np.array([[0, 65536]], dtype=np.int32)), "whole numbers from 0 to 65536"),
        (Image.fromarray(np.array([[0.0, 1.0]], dtype=np.float32)), "floating point"),
    ],
)
def test_ranges_that_nobody_knows(image: Image.Image, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(saved(image, "TIFF"), GREY)


def test_bilevel_is_black_and_white() -> None:
    assert decode(saved(Image.fromarray(np.array([[True, False]]))), GREY)[0].tolist() == [[[255, 0]]]


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 51)])
    out, grey = decode(saved(image), RGB)
    assert out[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    assert not grey


def test_grey_with_alpha_is_grey() -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(7, 255), (7, 0)])
    out, grey = decode(saved(image), GREY)
    assert (out.tolist(), grey) == ([[[7, 255]]], True)


def test_palettes() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([0, 1])
    assert decode(saved(image), RGB)[0][:, 0].T.tolist() == [[1, 2, 3], [200, 100, 50]]
    assert decode(saved(image, transparency=1), RGB)[0][:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]]
    assert decode(saved(image, transparency=bytes([255, 0])), RGB)[0][:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]]


def test_cmyk() -> None:
    out, _ = decode(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95), RGB)
    assert np.abs(out.astype(int) - np.array([0, 255, 255])[:, None, None]).max() < 20


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_cameras_orientation_is_applied(format_: str) -> None:
    image = Image.new("RGB", (32, 16), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 16, 16))  # left half black; turned by a quarter to the right the black is on top
    exif = Image.Exif()
    exif[0x0112] = 6
    out, _ = decode(saved(image, format_, exif=exif), RGB)
    assert out.shape == (3, 32, 16)
    assert out[:, :14].max() < 40
    assert out[:, 18:].min() > 215


def test_a_phones_double_jpeg() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    out, _ = decode(saved(frames[0], "MPO", save_all=True, append_images=frames[1:]), RGB)
    assert out[0].min() > 250
    assert out[2].max() < 5


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    out, _ = decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), RGB)
    assert out[:, 0, 0].tolist() == [255, 0, 0]


def thirds() -> bytes:
    """60x20: black, white and black thirds, side by side."""
    image = Image.new("RGB", (60, 20), (0, 0, 0))
    image.paste((255, 255, 255), (20, 0, 40, 20))
    return saved(image)


def test_crop_takes_the_middle() -> None:
    out, _ = decode(thirds(), ImageForm(3, 10, "crop"))
    assert (out[:, :, 1:-1] == 255).all()
    assert out.min() > 200  # scaled first, then cut: the neighbours of the cut shine in


def test_squash_shows_all_of_it() -> None:
    out, _ = decode(thirds(), ImageForm(3, 9, "squash"))
    assert (out[:, :, :2] == 0).all()
    assert (out[:, :, 4] == 255).all()
    assert (out[:, :, 7:] == 0).all()


def test_pad_adds_black_above_and_below() -> None:
    out, _ = decode(saved(Image.new("RGB", (60, 20), (255, 255, 255))), ImageForm(3, 30, "pad"))
    assert (out[:, :10] == 0).all()
    assert (out[:, 10:20] == 255).all()
    assert (out[:, 20:] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 17), (224, 223)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_every_size_becomes_the_wanted_one(size: tuple[int, int], resize: str) -> None:
    for format_ in ("PNG", "JPEG"):
        out, _ = decode(saved(Image.new("RGB", size, (9, 9, 9)), format_), ImageForm(3, 13, resize))
        assert out.shape == (3, 13, 13)


def test_a_large_jpeg_decoded_small_looks_the_same() -> None:
    y, x = np.mgrid[0:800, 0:1200]
    array = np.stack([x * 255 // 1199, y * 255 // 799, (x + y) % 200], axis=2).astype(np.uint8)
    data = saved(Image.fromarray(array), "JPEG", quality=95)
    out, _ = decode(data, ImageForm(3, 64, "squash"))
    exact = np.asarray(Image.open(io.BytesIO(data)).resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(out.astype(int) - exact).mean() < 2.0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"hello, this is no picture" * 10, "not an image"),
        (saved(Image.fromarray(COLOURS))[:60], "."),
        (saved(Image.new("RGB", (64, 64)), "JPEG")[:400], "(?i)truncated"),
        (saved(Image.effect_noise((64, 64), 90), "JPEG")[:1500], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg header", "cut jpeg", "postscript"],
)
def test_broken_files_are_one_kind_of_error(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(data, RGB)


def test_a_damaged_byte_is_noticed() -> None:
    data = bytearray(saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableImageError):
        decode(bytes(data), RGB)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(COLOURS))
    header = b"IHDR" + struct.pack(">II", 60000, 60000) + data[24:29]
    bomb = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    with without_remarks(), pytest.raises(UnreadableImageError, match="3600000000 pixels"):
        decode(bomb, GREY)
    monkeypatch.setattr(module, "MAX_PIXELS", 34)
    with pytest.raises(UnreadableImageError, match="7x5 pixels; more than 34"):
        decode(data, GREY)


def test_parts_of_a_file_are_read_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(b"aabbbc")
    (tmp_path / "alone").write_bytes(b"alone")
    pack = str(tmp_path / "pack")
    with FileReader() as reader:
        refs = [FileRef(pack, 5, 1), FileRef(str(tmp_path / "alone")), FileRef(pack, 0, 2), FileRef(pack, 2, 3)]
        assert [reader.read(ref) for ref in refs] == [b"c", b"alone", b"aa", b"bbb"]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileReader() as reader, pytest.raises(UnreadableImageError, match="No such file"):
        reader.read(FileRef(str(tmp_path / "gone.png")))
    (tmp_path / "big.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 99)
    with FileReader() as reader, pytest.raises(UnreadableImageError, match="larger than"):
        reader.read(FileRef(str(tmp_path / "big.png")))
