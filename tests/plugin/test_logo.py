"""A logo is made anew: square, a PNG, and nothing in it but the picture."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from plugin import editing, logo
from plugin.identity import current


def picture(size=(64, 64), kind="PNG", color=(200, 30, 30), **options):
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, kind, **options)
    return out.getvalue()


def opened(data):
    made = Image.open(io.BytesIO(data))
    assert (made.format, made.size) == ("PNG", (512, 512))
    return made.convert("RGBA")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_usual_kind_becomes_a_png_of_512_pixels(kind):
    made = opened(logo.remade(picture(kind=kind)))
    assert made.getpixel((256, 256))[3] == 255


def test_what_is_not_square_gets_transparent_edges_and_keeps_its_shape():
    made = opened(logo.remade(picture(size=(400, 100))))
    assert made.getpixel((256, 10))[3] == 0
    assert made.getpixel((256, 256))[:3] == (200, 30, 30)
    assert made.getbbox() == (0, 192, 512, 320)


def test_transparent_pictures_stay_transparent():
    out = io.BytesIO()
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(out, "PNG")
    assert opened(logo.remade(out.getvalue())).getpixel((256, 256))[3] == 0


def test_nothing_is_kept_but_the_picture():
    notes = PngInfo()
    notes.add_text("Comment", "<script>alert(1)</script>")
    made = logo.remade(picture(pnginfo=notes) + b"<script>alert(1)</script>")
    assert b"script" not in made


def test_a_photograph_is_turned_as_its_camera_was_held():
    turned = Image.Exif()
    turned[0x0112] = 6
    made = opened(logo.remade(picture(size=(400, 100), kind="JPEG", exif=turned)))
    assert made.getbbox() == (192, 0, 320, 512)


def test_what_cannot_be_pressed_is_drawn_with_fewer_colours():
    noise = np.random.default_rng(1).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    made = logo.remade(out.getvalue())
    opened(made)
    assert len(made) < 500_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no picture"),
        (b"%PDF-1.7", "no picture"),
        (picture()[:60], "no picture"),
        (b"<html><body>404</body></html>", "no picture"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG can carry scripts"),
        (b'<?xml version="1.0"?><svg onload="x"/>', "SVG can carry scripts"),
        (b"a" * (logo.MAX_BYTES + 1), "at most 2 MB"),
        (picture(size=(5000, 5000)), "million pixels"),
    ],
)
def test_what_is_refused_is_refused_with_a_reason(data, reason):
    with pytest.raises(logo.LogoRefused, match=reason):
        logo.remade(data)


@pytest.mark.django_db
def test_an_uploaded_logo_is_served_and_asked_for_again_by_its_etag(client):
    usual = client.get("/logo.png")
    made = logo.remade(picture())
    editing.save({}, made)
    assert current().logo_hash == hashlib.sha256(made).hexdigest()
    known = {"If-None-Match": usual["ETag"]}
    served = client.get("/logo.png", headers=known)
    assert (served.status_code, served.content) == (200, made)
    assert (served["Content-Type"], served["Cache-Control"]) == ("image/png", "no-cache")
    again = client.get("/logo.png", headers={"If-None-Match": served["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/logo.png").status_code == 200
    editing.save({}, b"")
    assert client.get("/logo.png").content == usual.content
