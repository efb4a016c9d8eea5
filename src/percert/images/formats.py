"""The image formats that are read and written, and how a file of another kind is named."""

#: What pillow calls the formats that are read; no other decoder of pillow ever sees a file.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

#: The same for people.
ACCEPTED = "JPEG, PNG, WebP, BMP and TIFF"

#: Suffixes by which a directory's images are found.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"}
)

#: Suffixes that can be saved without loss, and pillow's format for each.
LOSSLESS = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}

_ACCEPTED_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHER_STARTS = {
    b"GIF8": "a GIF file",
    b"%PDF": "a PDF file",
    b"<svg": "an SVG file",
    b"<?xml": "an XML file",
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL ": "a JPEG XL file",
    b"\0\0\0\x0cjP": "a JPEG 2000 file",
}


def why_unidentified(start: bytes) -> str:
    """Why pillow knew none of the accepted formats in a file that begins with ``start``.

    >>> why_unidentified(b"GIF89a")
    'a GIF file, but only JPEG, PNG, WebP, BMP and TIFF are accepted'
    """
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _bad_header("WebP")
    if start[4:8] == b"ftyp":
        return f"an AVIF, HEIF or video file, but only {ACCEPTED} are accepted"
    for magic, name in _ACCEPTED_STARTS.items():
        if start.startswith(magic):
            return _bad_header(name)
    for magic, name in _OTHER_STARTS.items():
        if start.startswith(magic):
            return f"{name}, but only {ACCEPTED} are accepted"
    return f"not an image of an accepted format ({ACCEPTED})"


def _bad_header(name: str) -> str:
    return f"a {name} file whose header is damaged or of a kind that cannot be decoded"
