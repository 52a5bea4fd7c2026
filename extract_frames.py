"""Stage 1: write every frame of every video as a PNG.

Reads  DFDC-Kaggle/<part>/*.mp4, and every other file that is a video by suffix or content (docs/use/video_files.md)
Writes DFDC-Kaggle_image/<part>/<video>/frame%d.png, numbered from 1, full resolution, and video.json beside them
       (file, frames, height, width, fps, rotation, mirrored, notes).
       A video's folder appears when it is complete; running again skips it.

    python extract_frames.py --videos DFDC-Kaggle --frames DFDC-Kaggle_image
"""

import json
from pathlib import Path

from common.command import run_script
from common.files import atomic_folder
from common.images import write_image
from common.stage import run_stage, stage_parser
from faces.video import Reading, probe
from faces.video_files import part_videos


def extract(video: Path, output: Path) -> int:
    """Write the frames of one video and their `video.json`; return the number of frames."""
    info = probe(video)
    with atomic_folder(output) as folder:
        count = 0
        for count, shown in enumerate(Reading(video, info), start=1):
            write_image(folder / f"frame{count}.png", shown.image)
        facts = {
            "file": video.name,
            "frames": count,
            "height": info.height,
            "width": info.width,
            "fps": info.fps,
            "rotation": info.orientation.degrees,
            "mirrored": info.orientation.mirrored,
            "notes": info.notes,
        }
        (folder / "video.json").write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
    return count


def main() -> int:
    """Extract the frames of all videos; return 1 if a video failed, else 0."""
    options = stage_parser(__doc__, videos="DFDC-Kaggle", frames="DFDC-Kaggle_image").parse_args()
    found = part_videos(options.videos)
    jobs = {name: (video, options.frames / name) for name, video in found.videos.items()}
    return run_stage("extract_frames", extract, jobs, options.frames, "", options.workers, note=found.note)


if __name__ == "__main__":
    run_script(main)
