"""An uploaded logo, made anew: a PNG of 512 × 512 pixels that holds nothing but the picture."""

import io
import struct

from django.utils.translation import gettext as _
from PIL import Image, ImageOps

from plugin.doctor.pictures import FORMATS, MAX_PIXELS, SVG, Undecodable, decode

SIDE = 512
MAX_BYTES = 2 * 1024 * 1024
#: Bytes of the PNG beyond which it is drawn with 256 colours: lists load dozens of logos.
LARGE = 300_000


class LogoRefused(Exception):
    """The message says why, and what to upload instead."""


def remade(data: bytes) -> bytes:
    """PNG, 512 × 512, with transparent edges where the picture is not square.

    Raises LogoRefused.
    """
    if len(data) > MAX_BYTES:
        raise LogoRefused(_("The picture is too large: at most 2 MB are taken."))
    try:
        if decode(data).content_type == SVG:
            raise LogoRefused(
                _("SVG can carry scripts, and not every program draws it. Upload a PNG or a JPEG.")
            )
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _png(_square(image))
    except Undecodable as error:
        if _is_too_wide(data):
            raise LogoRefused(
                _("The picture has more than %(n)d million pixels. Upload a smaller one.")
                % {"n": MAX_PIXELS // 1_000_000}
            ) from error
        raise LogoRefused(
            _("This is no picture that can be read. Upload a PNG, JPEG, WebP or GIF.")
        ) from error


def _is_too_wide(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width * image.height > MAX_PIXELS
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return False


def _square(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    fitted = ImageOps.contain(upright, (SIDE, SIDE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    canvas.paste(fitted, ((SIDE - fitted.width) // 2, (SIDE - fitted.height) // 2))
    return canvas


def _png(image: Image.Image) -> bytes:
    data = _saved(image)
    if len(data) <= LARGE:
        return data
    return min(data, _saved(image.quantize(256, Image.Quantize.FASTOCTREE)), key=len)


def _saved(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
