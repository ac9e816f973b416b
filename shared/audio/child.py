"""Decodes one untrusted file: run as a program of its own, under limits, with nothing of ours in reach.

    python -I child.py <fd of the input> <limits as JSON>

Standard output: one line of JSON about the source, then interleaved 16-bit PCM at 16 kHz. Standard error: one line of
JSON about the end. A crash, a bomb or a hang of the decoder ends this process and nothing else.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

RATE_HZ = 16_000


class Refused(Exception):
    """The file cannot or must not be decoded; `code` is `unreadable` or `too_long`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def limit_myself(limits: dict[str, Any]) -> None:
    for what, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (value, value))


def frames_of(container: Any, stream: Any, limits: dict[str, Any], end: dict[str, Any]) -> Iterator[Any]:
    """Decoded frames; a broken packet ends the audio there, with what came before it kept."""
    import av

    decoded_s = 0.0
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except (av.FFmpegError, ValueError) as error:
            if decoded_s == 0:
                raise Refused("unreadable", "The file holds no sound that can be decoded.") from error
            end["truncated"] = True
            return
        if not 1_000 <= frame.sample_rate <= 384_000:
            raise Refused("unreadable", f"The file claims a sample rate of {frame.sample_rate} Hz.")
        decoded_s += frame.samples / frame.sample_rate
        if decoded_s > limits["max_s"]:
            raise Refused("too_long", f"The recording is longer than {limits['max_s']:.0f} s.")
        yield frame


def decode(path: str, limits: dict[str, Any], end: dict[str, Any]) -> None:
    import av

    try:
        container = av.open(path, metadata_errors="ignore")
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise Refused("unreadable", "The file is not a kind of audio that we know.") from error
    if not container.streams.audio:
        raise Refused("unreadable", "The file holds no audio.")
    stream = container.streams.audio[0]
    resampler, layout, samples = None, None, 0
    for frame in frames_of(container, stream, limits, end):
        if resampler is None:
            layout = frame.layout
            resampler = av.AudioResampler(format="s16", layout=layout, rate=RATE_HZ)
            header = {"rate_hz": frame.sample_rate, "channels": layout.nb_channels, "format": container.format.name}
            if layout.nb_channels > limits["max_channels"]:
                raise Refused("unreadable", f"The file has {layout.nb_channels} channels.")
            sys.stdout.buffer.write(json.dumps(header).encode() + b"\n")
        if frame.layout.nb_channels != layout.nb_channels:
            end["truncated"] = True
            break
        samples += write(resampler.resample(frame))
    if resampler is None:
        raise Refused("unreadable", "The file holds no sound.")
    samples += write(resampler.resample(None))
    if samples == 0:
        raise Refused("unreadable", "The file holds no sound.")
    sys.stdout.buffer.flush()


def write(frames: list[Any]) -> int:
    for frame in frames:
        sys.stdout.buffer.write(frame.to_ndarray().tobytes())
    return sum(frame.samples for frame in frames)


def main() -> int:
    limits = json.loads(sys.argv[2])
    end: dict[str, Any] = {"ok": True, "truncated": False}
    limit_myself(limits)
    try:
        import av

        av.logging.set_level(av.logging.PANIC)
        decode(f"/proc/self/fd/{sys.argv[1]}", limits, end)
    except Refused as refused:
        end = {"ok": False, "code": refused.code, "detail": str(refused)}
    except MemoryError:
        end = {"ok": False, "code": "unreadable", "detail": "Decoding the file takes more memory than allowed."}
    sys.stderr.write(json.dumps(end) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
