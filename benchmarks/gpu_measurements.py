"""The parts of benchmarks/gpu.py. Each imports what it needs itself: a missing package costs only that part."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks import median_seconds, run, seconds, write_crops, write_video
from inference.members import MEMBERS, MODELS, SHIPPED

if TYPE_CHECKING:
    from inference.networks.runtimes import Networks

ARCHS = {member.arch: member for member in reversed(MEMBERS.values())}  # network -> its first member
CAPPED = "b0"  # the member whose memory runs out


@dataclass(frozen=True)
class Session:
    """Where the parts run: the device, whether it is a dry run, and a folder for files."""

    device: str
    dry: bool
    folder: Path

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the members: all eleven, in a dry run only a quick one."""
        return (CAPPED,) if self.dry else tuple(MEMBERS)

    def median_seconds(self, work: Callable[[], object]) -> float:
        """Median seconds of a call, after calls to warm up; in a dry run the seconds of one call."""
        return median_seconds(work, 1, self.device, 0) if self.dry else median_seconds(work, 5, self.device, 3)


@dataclass(frozen=True)
class Row:
    """A figure: its name, its value with the unit in words, and the goal, if there is one."""

    name: str
    figure: str
    goal: str = ""


def measure_group(session: Session) -> Iterator[Row]:
    """Form a group, sum a tensor in it, and train a network for one step in it."""
    from benchmarks.networks import training_step
    from image_based.models import build_model
    from training.distributed import process_group

    began = time.perf_counter()
    with process_group(session.device, patience=60) as world:
        values = torch.arange(1 << (10 if session.dry else 24), dtype=torch.float32, device=world.device)
        total = values.clone()
        torch.distributed.all_reduce(total)
        same = bool((total == values).all())  # waits for the device
        yield Row(f"{torch.distributed.get_backend()}: formed, first sum", f"{time.perf_counter() - began:.2f} s")
        yield Row("the sum of a group of one is its value", str(same), "True")
        batch, side = (2, 64) if session.dry else (32, 224)
        images = torch.randn(batch, 3, side, side, device=world.device)
        model = DistributedDataParallel(build_model("resnet34").to(world.device))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        took = session.median_seconds(partial(training_step, model, images, optimizer))
        yield Row("resnet34, a step", f"{1000 * took:.1f} ms, {batch / took:.0f} images/s")


def measure_training(session: Session) -> Iterator[Row]:
    """Time plain eager float32, then what the trainers run at float32, TF32 and bf16."""
    for arch in ARCHS:
        plain, shape = training_seconds(session, arch, "plain")
        yield Row(f"{arch}, {shape}, plain float32", f"{shape[0] / plain:.1f}/s")
        for variant in ("fp32", "tf32", "bf16"):
            took, _ = training_seconds(session, arch, variant)
            figure = f"{shape[0] / took:.1f}/s, {plain / took:.2f} times plain"
            yield Row(f"{arch}, {variant}", figure, "3 times" if variant == "bf16" else "")


def measure_compiled(session: Session) -> Iterator[Row]:
    """Time the compiled bf16 step against plain float32; compiling takes up to a minute per network."""
    for arch in ("resnet34",) if session.dry else ARCHS:
        began = time.perf_counter()
        took, shape = training_seconds(session, arch, "compiled")
        spent = time.perf_counter() - began
        plain, _ = training_seconds(session, arch, "plain")
        figure = f"{shape[0] / took:.1f}/s, {plain / took:.2f} times plain, {spent:.0f} s to compile and time"
        yield Row(f"{arch}, compiled, bf16", figure, "3 times")


@cache
def training_seconds(session: Session, arch: str, variant: str) -> tuple[float, tuple[int, ...]]:
    """Seconds of a training step on a batch of the config's size, and its shape: B, 3, H, W or B, 3, T, H, W."""
    from benchmarks.networks import training_work
    from image_based.config import ImageConfig
    from training.config import load_config
    from video_based.config import VideoConfig

    member = ARCHS[arch]
    config = load_config(Path(member.trained_by), VideoConfig if member.branch == "video" else ImageConfig)
    batch, side, frames = (2, 64, 8) if session.dry else (config.batch_size, config.input_size, 32)
    images = torch.randn(batch, 3, *((frames,) if member.branch == "video" else ()), side, side, device=session.device)
    model, step = training_work(member.branch, arch, images, plain=variant == "plain")
    if variant == "compiled":
        model.compile(backend="eager" if session.dry else "inductor")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = variant == "tf32"
    with torch.autocast(session.device, torch.bfloat16, enabled=variant in ("bf16", "compiled")):
        return session.median_seconds(step), tuple(images.shape)


@cache
def made_video(session: Session) -> Path:
    """A video of one face, 300 frames of 1080p; in a dry run five small ones."""
    path = session.folder / "videos/0.mp4"
    write_video(path, *((5, (640, 360)) if session.dry else (300, (1920, 1080))))
    return path


def measure_inference(session: Session) -> Iterator[Row]:
    """Score videos at each precision, then two of them the serial way."""
    from benchmarks.inference import WALL, ours, serial, setup_of, timed
    from benchmarks.networks import random_members
    from inference.scorer import Video

    loaded = random_members(session.device, session.members)
    members = {name: MEMBERS[name] for name in loaded}
    videos = [Video(f"{number}.mp4", made_video(session)) for number in range(1 if session.dry else 32)]
    wall = {}
    for precision in ("fp32", "fp16", "bf16"):
        setup = setup_of(members, session.device, precision)
        spent = {stage: took / len(videos) for stage, took in timed(ours, videos, setup, loaded).stages.items()}
        wall[precision] = spent.pop(WALL)
        networks = sum(spent.pop(name) for name in members)
        stages = ", ".join(f"{stage} {took:.2f}" for stage, took in spent.items())
        rate = f"{wall[precision]:.2f} s per video, {3600 / wall[precision]:.0f} per hour"
        yield Row(f"{precision}, {len(videos)} videos", f"{rate}; networks {networks:.2f}, of a core {stages}", "0.9 s")
    alone = timed(serial, videos[:2], setup_of(members, session.device), loaded).stages[WALL] / len(videos[:2])
    yield Row("the serial way, fp32", f"{alone:.2f} s per video, {alone / wall['fp32']:.1f} times ours", "10 times")


def measure_precision(session: Session) -> Iterator[Row]:
    """Score the video at each precision, with random members and the shipped ones, and compare with the CPU."""
    from benchmarks.inference import look, setup_of
    from benchmarks.networks import random_members
    from inference.networks.torch_networks import load_member, networks_of

    members = {name: MEMBERS[name] for name in session.members} | SHIPPED
    faces = look(made_video(session), setup_of(members, session.device)).faces
    loaded = {
        device: random_members(device, session.members)
        | {name: (member, load_member(member, MODELS, device)) for name, member in SHIPPED.items()}
        for device in {"cpu", session.device}
    }

    def scores(device: str, precision: str) -> dict[str, float]:
        (of_video,) = networks_of(loaded[device], device, precision).scores([faces])
        return {name: score.value for name, score in of_video.items() if score.value is not None}

    exact = scores("cpu", "fp32")
    yield Row("members with a score on the CPU", str(len(exact)), str(len(members)))
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        values = scores(session.device, precision)
        assert values.keys() == exact.keys(), f"{precision}: {sorted(values)} have a score, on the CPU {sorted(exact)}"
        differences = {name: abs(values[name] - exact[name]) for name in exact}
        worst = max(differences, key=differences.__getitem__)
        shipped = max(differences[name] for name in SHIPPED if name in differences)
        figure = f"at most {differences[worst]:.1e} ({worst}), shipped weights {shipped:.1e}"
        yield Row(precision, figure, "2e-06" if precision == "fp32" else "")


def measure_memory(session: Session) -> Iterator[Row]:
    """Score with all memory, then with a cap on it, and compare limits and scores."""
    from benchmarks.inference import look, setup_of
    from benchmarks.networks import random_members
    from inference.networks.torch_networks import networks_of

    faces = look(made_video(session), setup_of({CAPPED: MEMBERS[CAPPED]}, session.device)).faces
    loaded = random_members(session.device, [CAPPED])
    exact, capped = (networks_of(loaded, session.device, limits={CAPPED: 256}) for _ in range(2))
    if session.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    score = exact.scores([faces])[0][CAPPED].value
    cap_memory(capped, session.device)
    try:
        score_in_parts = capped.scores([faces])[0][CAPPED].value
    finally:
        if session.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
    assert score is not None and score_in_parts is not None, "the member has no score"
    crops, limit = len(faces[0].crops[MEMBERS[CAPPED].crop_kind]), capped.limits[CAPPED]
    assert limit < crops, f"memory did not run out: still {limit} at a time"
    yield Row(f"{crops} crops at a time do not fit; halved to", str(limit), f"below {crops}")
    yield Row("the score moves by", f"{abs(score - score_in_parts):.1e}", "1e-06")


def cap_memory(capped: "Networks", device: str) -> None:
    """Leave half of the memory that was needed since the peak was reset; on a CPU a network pretends it ran out."""
    if device == "cuda":
        needed = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.5 * needed) / total)
        return
    member, network = capped.members[CAPPED]

    def small(pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory, in a dry run")
        return network(pixels, exact)

    small.is_exact = True  # type: ignore[attr-defined]
    capped.members = {CAPPED: (member, small)}  # type: ignore[dict-item]


def measure_detector(session: Session) -> Iterator[Row]:
    """Detect faces in the same frames on the device and on the CPU."""
    import faces.retinaface  # noqa: F401  # needed only on a GPU; a dry run must notice if it is missing
    from faces.detector import FaceDetector, default_weights
    from faces.video import read_frames

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    frames = list(islice(read_frames(made_video(session)), 64))
    detectors = {"cpu": FaceDetector(default_weights()), "device": FaceDetector(default_weights(), session.device)}
    boxes = {
        side: [of_frame[of_frame[:, 4] > 0.5] for of_frame in detector.detect(frames)]
        for side, detector in detectors.items()
    }
    took = {side: seconds(partial(detector.detect, frames)) / len(frames) for side, detector in detectors.items()}
    yield Row(f"{len(frames)} frames, ms each", ", ".join(f"{side} {1000 * took[side]:.1f}" for side in took))
    counts = " and ".join(str(sum(map(len, of_side))) for of_side in boxes.values())
    yield Row("boxes above 0.5, CPU and device", counts, "equal")
    pairs = [pair for pair in zip(boxes["cpu"], boxes["device"], strict=True) if len(pair[0]) == len(pair[1])]
    yield Row("frames with as many boxes on both", f"{len(pairs)} of {len(frames)}", "all")
    apart = [float(np.abs(exact[:, :4] - other[:, :4]).max()) for exact, other in pairs if len(exact)]
    yield Row("largest difference of a corner", f"{max(apart, default=float('nan')):.1e} pixels", "0.01")


def measure_resume(session: Session) -> Iterator[Row]:
    """Train, train the second half again from the checkpoint in the middle, and compare the last checkpoints."""
    from training.checkpoint import read_checkpoint

    runs, tracks = session.folder / "runs", write_crops(session.folder / "crops", videos=8)
    first, last, side = (2, 4, 64) if session.dry else (10, 20, 224)
    values = {
        "pretrained": "null", "train_root": tracks.parent, "val_root": tracks.parent, "input_size": side,
        "train_list": tracks, "val_lists.val_30-39": tracks, "batch_size": 4,
        "reference_world_size": 1, "lr_scheduler.max_iter": last + 1, "val_freq": first, "print_freq": 1, "workers": 0,
    }  # fmt: skip
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    place = ("--experiments", runs, "--datetime", "now", "--device", session.device)
    command = ("-m", "image_based.main", "--config", ARCHS["resnet34"].trained_by, *place, *settings)
    yield Row(f"{last + 1} steps of resnet34, everything included", f"{run(*command).wall:.1f} s")
    (end,) = runs.glob(f"*/now/ckpt_iter_{last}.pth.tar")
    straight = read_checkpoint(end)["state_dict"]
    for path in (*end.parent.glob(f"ckpt_iter_{last}*"), end.parent / "finished"):
        path.unlink()
    run(*command, "--recover")
    resumed = read_checkpoint(end)["state_dict"]
    apart = max(float((value.double() - resumed[name].double()).abs().max()) for name, value in straight.items())
    figure = "the same bits" if apart == 0 else f"at most {apart:.1e} apart"
    yield Row(f"weights after resuming from step {first}", figure, "the same bits")
