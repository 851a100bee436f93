"""Pictures as files: the sizes that have names, and the forms a picture may have. Pure."""

from __future__ import annotations

from typing import Final

from fal_async.emulator.models.jpeg import encode_jpeg
from fal_async.emulator.models.painting import paint, paint_softly
from fal_async.emulator.models.png import encode_png

__all__ = ["PRESETS", "encode_picture"]

#: Presets of ``image_size`` (PROTOCOL 16).
PRESETS: Final = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


def encode_picture(form: str, key: bytes, width: int, height: int) -> bytes:
    """The picture that belongs to ``key``.

    :param form: ``"png"``, which shows it as it is, or ``"jpeg"``, which shows it in mist.
    """
    if form == "png":
        picture = paint(key, width, height)
        return encode_png(width, height, picture.palette, picture.rows)
    soft = paint_softly(key, width, height)
    return encode_jpeg(width, height, soft.luma, soft.blue, soft.red)
