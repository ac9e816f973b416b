"""What a file is by its first bytes; what its sender calls it is not asked."""

from __future__ import annotations

HEAD_BYTES = 64
UNKNOWN = "application/octet-stream"


def media_type_of(head: bytes) -> str:
    """The media type by which a browser plays the file; `application/octet-stream` where it is no audio we know."""
    for begin, kind in _BEGINNINGS.items():
        if head.startswith(begin):
            return kind
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "audio/wav"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"
    return UNKNOWN


_BEGINNINGS = {
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"ID3": "audio/mpeg",
    b"\x1a\x45\xdf\xa3": "audio/webm",
    b"FORM": "audio/aiff",
    b".snd": "audio/basic",
    b"caff": "audio/x-caf",
    b"#!AMR": "audio/amr",
}
