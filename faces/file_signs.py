"""Signs of who wrote a file: tags that platforms, recorders and ffmpeg leave, and sizes that cameras do not record.

A tag is a claim of the file, which anyone can write or remove. The tags are those that files of these sources carry in
public reports; platforms change them without notice.
"""

from pathlib import Path
from typing import NamedTuple

from faces.file_facts import clean
from faces.streams import open_video
from faces.video import VideoInfo


class Tag(NamedTuple):
    """A value that a source writes: where it stands in the file (None for anywhere), how it begins, and who does."""

    name: str | None
    beginning: str
    source: str


FFMPEG = "ffmpeg's libraries, which editors, platforms and download tools use, and hardly any camera"
TAGS = (
    Tag("handler_name", "ISO Media file produced by Google", "YouTube and other services of Google"),
    Tag("handler_name", "Twitter-vork muxer", "X (Twitter)"),
    Tag("comment", "vid:v", "TikTok and Douyin"),
    Tag(None, "ReplayKitRecording", "the screen recorder of iPhones and iPads"),
    Tag("com.apple.quicktime.model", "", "Apple's camera app, or an editor that kept its tags"),
    Tag("com.android.version", "", "Android's recorder, or an app that uses it"),
    Tag("encoder", "Lavf", FFMPEG),
    Tag("encoder", "HandBrake", "HandBrake, a converter"),
)
# Width and height, the longer one first, as cameras and phones record, and as earlier camcorders and webcams did.
CAMERAS = {
    *((7680, 4320), (4096, 2160), (3840, 2160), (2704, 1520), (2560, 1440), (1920, 1440), (1920, 1080), (1440, 1080)),
    *((1280, 960), (1280, 720), (960, 720), (960, 540), (848, 480), (800, 600), (720, 576), (720, 480), (704, 576)),
    *((640, 480), (640, 360), (352, 288), (320, 240), (176, 144), (1080, 1080), (1440, 1440), (3840, 2880)),
}
# Those of screens and of the recordings that phones make of them.
SCREENS = {
    *((1366, 768), (1440, 900), (1600, 900), (1680, 1050), (1920, 1200), (2560, 1600), (2880, 1800), (1536, 864)),
    *((3024, 1964), (3456, 2234), (2560, 1080), (3440, 1440), (1280, 800), (1024, 768), (1280, 1024), (2048, 1536)),
    *((1334, 750), (1792, 828), (2436, 1125), (2532, 1170), (2556, 1179), (2688, 1242), (2778, 1284), (2796, 1290)),
    *((1920, 886), (1920, 884), (2340, 1080), (2400, 1080), (2220, 1080), (2160, 1080), (3120, 1440), (3200, 1440)),
}


def tags_of(path: Path) -> list[str]:
    """What a video's known tags say about who wrote it, a sentence part each. Raises as `open_video` does."""
    with open_video(path) as container:
        values = [*container.metadata.items()]
        values += [pair for stream in container.streams for pair in stream.metadata.items()]
    found = [
        f"{name} {clean(value)!r}, as written by {tag.source}"
        for tag in TAGS
        for name, value in values
        if fits(tag, name, value)
    ]
    return list(dict.fromkeys(found))  # a platform's tag stands in every stream


def fits(tag: Tag, name: str, value: str) -> bool:
    """Whether a value of the file is the tag's."""
    return tag.name in (None, name.lower()) and value.startswith(tag.beginning) and bool(value)


def size_of(info: VideoInfo) -> str | None:
    """What the size of a video tells: "screen" or "unusual"; None for a size that cameras record."""
    size = max(info.width, info.height), min(info.width, info.height)
    if size in CAMERAS:
        return None
    return "screen" if size in SCREENS else "unusual"
