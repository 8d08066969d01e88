"""Grey images as PNG files. The format needs a dozen lines, and the demo must run on the base install."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grey_png(pixels) -> bytes:
    """A PNG file of an 8-bit grey image.

    Args:
        pixels: (height, width) of uint8, 0 is black.

    >>> grey_png(np.zeros((2, 3), np.uint8))[1:4]
    b'PNG'
    """
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # Every line starts with the number of its filter; 0 is none.
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
