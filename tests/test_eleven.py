"""All eleven trainings: `sh train.sh` on a real Slurm, on faces of real clips; one of each kind with the reference's 8
and 16 tasks.

They run in a copy of the repository, scaled down only by options: 64 pixels, one sample per task of the reference, two
steps, random starting weights.
"""

import csv
import json
import subprocess
from itertools import islice

import pytest
import yaml

from demo.tree import write_video
from faces.video import read_frames
from inference.members import MEMBERS
from make_lists import drawn_for_validation
from tests.tiny import checkout, small_slurm
from training.checkpoint import read_checkpoint

FRAMES = 31  # the first and the last one give PNG crops
FOLDERS = {"videos": "", "frames": "_image", "boxes": "_Retinaface", "faces": "_Alignedface", "lists": "_list"}
STAGES = {
    "extract_frames.py": ("videos", "frames"),
    "detect_faces.py": ("frames", "boxes"),
    "save_aligned_faces.py": ("frames", "boxes", "faces"),
    "make_lists.py": ("videos", "faces", "lists"),
}


@pytest.fixture
def lab(tmp_path, clip, run, weights):
    """A copy of what trains, with the lists and faces that stages 1 to 4 make from pieces of two real clips."""
    checkout(tmp_path)
    pieces = [list(islice(read_frames(clip(name)), FRAMES)) for name in ("single_face.mp4", "carphone_pristine.mp4")]
    names = {
        drawn: next(f"v{n}" for n in range(99) if drawn_for_validation(f"v{n}", 1, 0) == drawn)
        for drawn in (False, True)
    }
    parts = {"dfdc_train_part_0": names[False], "dfdc_train_part_30": names[True], "test_videos": "public"}
    for part, original in parts.items():
        folder = tmp_path / "DFDC-Kaggle" / part
        for name, frames in zip((original, f"{original}_fake"), pieces, strict=True):
            write_video(folder / f"{name}.mp4", frames, 30.0)
        labels = {f"{original}.mp4": {"label": "REAL", "split": "train"}}
        labels[f"{original}_fake.mp4"] = {"label": "FAKE", "split": "train", "original": f"{original}.mp4"}
        (folder / "metadata.json").write_text(json.dumps(labels))
    (tmp_path / "public.csv").write_text("filename,label\npublic.mp4,0.5\npublic_fake.mp4,0.5\n")
    for script, folders in STAGES.items():
        options = [word for name in folders for word in (f"--{name}", tmp_path / f"DFDC-Kaggle{FOLDERS[name]}")]
        run(script, *options, *(("--public-val", tmp_path / "public.csv") if script == "make_lists.py" else ()))
    (tmp_path / "dist").mkdir()
    return tmp_path


@pytest.mark.slurm
@pytest.mark.slow
def test_all_eleven_train(lab, slurm):
    settings = {"pretrained": "null", "input_size": 64, "batch_size": 1, "workers": 0, "lr_scheduler.max_iter": 2}
    few = small_slurm(slurm, 2, *(word for pair in settings.items() for word in ("--set", f"{pair[0]}={pair[1]}")))
    numbers = ("NTASKS", "GPUS_PER_NODE", "NTASKS_PER_NODE", "CPUS_PER_TASK")
    of_the_reference = {name: value for name, value in few.items() if name not in numbers}

    def train(*words, environment):
        done = subprocess.run(
            ["sh", *words, "debug", str(lab / "dist"), "dfdc"],
            cwd=lab, env=environment, capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    alone = {"image_based": "image_based/configs/b0/config.yaml", "video_based": "video_based/configs/config.yaml"}
    for kind, config in alone.items():
        train(f"{kind}/train.sh", config, environment=of_the_reference)
    assert train("train.sh", environment=few).count(" is finished") == 2
    configs = sorted({lab / member.trained_by for member in MEMBERS.values()})
    assert len(configs) == 11
    for config in configs:
        values = yaml.safe_load(config.read_text())
        kind = config.relative_to(lab).parts[0]
        (folder,) = (lab / kind / "experiments" / values["save_path"]).iterdir()
        reference = 16 if kind == "video_based" else 8
        processes = reference if config == lab / alone[kind] else 2
        assert f"{processes} processes for the reference's {reference}" in (folder / "log.txt").read_text()
        content = read_checkpoint(folder / "ckpt_iter_1.pth.tar")
        assert (content["step"], content["arch"]) == (1, values["arch"])
        (name,) = values["val_lists"]
        rows = list(csv.DictReader((folder / f"ckpt_iter_1_{name}.csv").open()))
        assert sorted(row["label"] for row in rows) == ["0", "1"]
        assert (folder / "finished").is_file()
    assert list((lab / "dist").iterdir()) == []
    assert train("train.sh", environment=few).count(" is finished") == 11
