"""One image file -> one uint8 array of the wanted shape, whatever the file's mode, size and orientation."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Resize: TypeAlias = Literal["crop", "squash", "pad"]

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
# Named, because PIL would otherwise try formats that run an interpreter (EPS) on whatever calls itself a .jpg.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 * 2**20
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_WHITE = (255, 255, 255, 255)


class UnreadableImageError(ValueError):
    """The bytes are no image that can be used; the message says why, without the path."""


class FileRef(NamedTuple):
    """Where an image's bytes are: a whole file, or ``size`` bytes of it from ``offset`` on."""

    path: str
    offset: int = 0
    size: int | None = None

    def absolute(self) -> FileRef:
        """Return the same place for a process that may work in another folder."""
        return self._replace(path=os.path.abspath(self.path))

    def num_bytes(self) -> int:
        """Return how many bytes there are, 0 for a file that cannot be found."""
        if self.size is not None:
            return self.size
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0


class FileReader:
    """Reads the bytes of one :class:`FileRef` after the other; a file that holds many stays open between them."""

    def __init__(self) -> None:
        self._path = ""
        self._file: IO[bytes] = io.BytesIO()

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def read(self, ref: FileRef) -> bytes:
        """Return the bytes. Raise ``UnreadableImageError`` where the file cannot be read or is larger than any image."""
        if ref.num_bytes() > MAX_FILE_BYTES:
            raise UnreadableImageError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB")
        try:
            if ref.path != self._path:
                self._file.close()
                self._file = open(ref.path, "rb")  # noqa: SIM115 - closed on leaving
                self._path = ref.path
            self._file.seek(ref.offset)
            return self._file.read(-1 if ref.size is None else ref.size)
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from None


@dataclass(frozen=True)
class ImageForm:
    """The form that every image takes: ``channels`` 1 or 3, and ``size`` the side in pixels (None: as it comes).

    ``resize`` is the rule for another aspect: ``crop`` scales the short side and cuts the middle out, ``squash`` changes the
    aspect, ``pad`` scales the long side and fills up with black.
    """

    channels: int
    size: int | None = None
    resize: Resize = "crop"


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Keep PIL from warning of odd metadata while many images are decoded; what matters is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(data: bytes, form: ImageForm) -> tuple[NDArray[np.uint8], bool]:
    """Return an image as (C, H, W) and whether the file was grey.

    The orientation that a camera noted (EXIF) is applied; transparency is laid over white; grey of 12 or 16 bit is scaled, not
    clipped, to 8 bit; of an animation the first frame counts. Signed or 32-bit whole numbers (TIFF) have no range of their own: an
    image whose largest value is at most 255 counts as 8 bit, one of at most 65535 as 16 bit. Raise ``UnreadableImageError`` for anything
    that does not decode.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width}x{image.height} pixels; more than {MAX_PIXELS:,} are refused")
            if form.size is not None:
                # A JPEG can be decoded at 1/2, 1/4 or 1/8; twice the wanted side leaves the resampling enough to work on.
                image.draft(None, (2 * form.size, 2 * form.size))
            grey = image.mode in _GREY_MODES
            flat = _eight_bit(_upright(image), "L" if form.channels == 1 else "RGB", white=_white(image))
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # PIL's decoders raise nearly everything on broken files
        raise UnreadableImageError(_reason(error)) from None
    sized = _resized(flat, form)
    array = np.frombuffer(sized.tobytes(), dtype=np.uint8).reshape(sized.height, sized.width, form.channels)
    return array.transpose(2, 0, 1), grey


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image in any known format"
    return str(error) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    # Loading first: for PNG and WebP the orientation may stand behind the pixels. Most files have none, and asking is cheap.
    image.load()
    return ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image


def _white(image: Image.Image) -> int | None:
    """Return the value that whole numbers reach at most, as the file says; None where it does not."""
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # BitsPerSample
        return 2**bits - 1 if image.mode.startswith("I;16") else None
    return 65535  # PNG and PPM, whose mode is I in some releases of PIL and I;16 in others


def _eight_bit(image: Image.Image, mode: str, *, white: int | None) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        white = white or (255 if high <= 255 else 65535)
        if low < 0 or high > white:
            raise UnreadableImageError(f"whole numbers from {low} to {high}; expected 8 or 16 bit, 0 to {white}")
        image = Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
    elif image.mode == "F":
        raise UnreadableImageError("floating point pixels have no known range; save as 8 or 16 bit")
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, form: ImageForm) -> Image.Image:
    size, (width, height) = form.size, image.size
    if size is None or (width == size and height == size):
        return image
    filter_ = Image.Resampling.BILINEAR  # widens with the reduction, so that nothing is skipped
    if form.resize == "squash":
        return image.resize((size, size), filter_)
    if form.resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), filter_, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new(image.mode, (size, size))
    canvas.paste(image.resize(inner, filter_), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return canvas
