"""The parts of benchmarks/card.py. Each imports what it needs itself: a missing package costs only that part."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from inference.members import Member
    from inference.networks.runtimes import Networks
    from inference.sampling.sampled import Face

NETWORKS = {  # network -> config that trains it
    "efficientnet-b0": "image_based/configs/b0/config.yaml",
    "efficientnet-b1": "image_based/configs/b1/config.yaml",
    "efficientnet-b3": "image_based/configs/b3/config.yaml",
    "resnet34": "image_based/configs/r34/config.yaml",
    "xception": "image_based/configs/xcep/config.yaml",
    "slowfast50": "video_based/configs/config.yaml",
}
PRECISIONS = ("fp32", "fp16", "bf16")
CAPPED = "b0"  # the member whose memory runs out
# Where a CPU has no half precision, ResNet-34 takes 20 s for five crops, SlowFast a minute for a clip.
DRY_MEMBERS, DRY_COMPILED, DRY_FRAMES = (CAPPED,), ("resnet34",), 5


@dataclass(frozen=True)
class Row:
    """A figure: its name, its value with the unit in words, and the goal, if there is one."""

    name: str
    figure: str
    goal: str = ""


@dataclass(frozen=True)
class Card:
    """Where the parts run: the device, whether it is a dry run, a folder for files, and when time is over."""

    device: str
    dry: bool
    folder: Path
    ends: float  # by time.monotonic()

    def wait(self) -> None:
        """Wait until the device has done its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        """Median seconds of a call, after calls to warm up; in a dry run the seconds of one call."""
        for _ in range(0 if self.dry else 3):
            work()
        times = []
        for _ in range(1 if self.dry else 5):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - began)
        return statistics.median(times)


def group(card: Card) -> Iterator[Row]:
    """Form a group, sum a tensor in it, and train a network a step in it."""
    from benchmarks.networks import training_step
    from image_based.models import build_model
    from training.distributed import process_group

    began = time.perf_counter()
    with process_group(card.device, patience=60) as world:
        values = torch.arange(1 << (10 if card.dry else 24), dtype=torch.float32, device=world.device)
        total = values.clone()
        torch.distributed.all_reduce(total)
        card.wait()
        backend = torch.distributed.get_backend()
        yield Row(f"{backend}: formed, first sum", f"{time.perf_counter() - began:.2f} s")
        yield Row("the sum of a group of one is its value", str(bool((total == values).all())), "True")
        size = 64 if card.dry else 224
        model = DistributedDataParallel(build_model("resnet34").to(world.device))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        images = torch.randn(2 if card.dry else 32, 3, size, size, device=world.device)
        seconds = card.seconds(lambda: training_step(model, images, optimizer))
        yield Row("resnet34, a step", f"{1000 * seconds:.1f} ms, {len(images) / seconds:.0f} images/s")


def training(card: Card) -> Iterator[Row]:
    """Time plain eager float32, then as the trainers run at float32 and bf16, and at TF32 beside."""
    for arch in NETWORKS:
        plain, shape = training_seconds(card, arch, "plain")
        yield Row(f"{arch}, {shape}, plain float32", f"{shape[0] / plain:.1f}/s")
        for form in ("fp32", "tf32", "bf16"):
            seconds, _ = training_seconds(card, arch, form)
            said = f"{shape[0] / seconds:.1f}/s, {plain / seconds:.2f} times plain"
            yield Row(f"{arch}, {form}", said, "3 times" if form == "bf16" else "")


def compiled(card: Card) -> Iterator[Row]:
    """Time the compiled bf16 step against plain float32; compiling takes up to a minute for each network."""
    for arch in DRY_COMPILED if card.dry else NETWORKS:
        began = time.perf_counter()
        seconds, shape = training_seconds(card, arch, "compiled")
        spent = time.perf_counter() - began
        plain, _ = training_seconds(card, arch, "plain")
        said = f"{shape[0] / seconds:.1f}/s, {plain / seconds:.2f} times plain, {spent:.0f} s to compile and time"
        yield Row(f"{arch}, compiled, bf16", said, "3 times")


@cache
def training_seconds(card: Card, arch: str, form: str) -> tuple[float, tuple[int, ...]]:
    """Seconds of a training step on a batch of the config's size; its shape: B, 3, H, W or B, 3, T, H, W."""
    from benchmarks.networks import training_step
    from image_based.config import ImageConfig
    from inference.networks.torch_networks import BUILD
    from training.config import load_config
    from training.inputs import memory_format
    from video_based.config import VideoConfig

    is_video = arch == "slowfast50"
    config = load_config(Path(NETWORKS[arch]), VideoConfig if is_video else ImageConfig)
    batch, side, frames = (2, 64, (8,)) if card.dry else (config.batch_size, config.input_size, (32,))
    images = torch.randn(batch, 3, *(frames if is_video else ()), side, side, device=card.device)
    layout = torch.contiguous_format if form == "plain" else memory_format(images)
    model: nn.Module = BUILD["video" if is_video else "image"](arch).to(card.device).to(memory_format=layout)
    if form == "compiled":
        model.compile(backend="eager" if card.dry else "inductor")
    images = images.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=form != "plain")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = form == "tf32"
    with torch.autocast(card.device, torch.bfloat16, enabled=form in ("bf16", "compiled")):
        return card.seconds(lambda: training_step(model, images, optimizer)), tuple(images.shape)


def video(card: Card) -> Path:
    """A video with one face, 300 frames of 1080p as H.264 in MP4; in a dry run five small ones. Made once."""
    from pretrain.clips import clip

    path = card.folder / "videos/0.mp4"
    if not path.is_file():
        import av
        import cv2

        from faces.video import read_frames

        frames = list(islice(read_frames(clip("single_face.mp4")), DRY_FRAMES if card.dry else 60))
        size = (640, 360) if card.dry else (1920, 1080)
        path.parent.mkdir(exist_ok=True)
        half_made = card.folder / "half_made.mp4"
        with av.open(half_made, "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for number in range(DRY_FRAMES if card.dry else 300):
                turn, at = divmod(number, len(frames))  # forth and back, so that no frame is a cut
                picture = np.asarray(cv2.resize(frames[-1 - at if turn % 2 else at], size), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode())
        half_made.replace(path)
    return path


def models(card: Card) -> Path:
    """A folder with random checkpoints of the members. Made once."""
    from inference.members import MEMBERS
    from inference.networks.torch_networks import BUILD

    folder, half_made = card.folder / "models", card.folder / "half_made"
    if not folder.is_dir():
        half_made.mkdir(exist_ok=True)
        torch.manual_seed(0)
        for name in members(card):
            member = MEMBERS[name]
            content = {"step": 1, "arch": member.arch, "state_dict": BUILD[member.branch](member.arch).state_dict()}
            torch.save(content, half_made / member.file)
        half_made.rename(folder)
    return folder


def members(card: Card) -> tuple[str, ...]:
    """The names of the members: all eleven, in a dry run a quick one."""
    from inference.members import MEMBERS

    return DRY_MEMBERS if card.dry else tuple(MEMBERS)


def inference(card: Card) -> Iterator[Row]:
    """Score a folder of videos by precision, then some of them the serial way."""
    from benchmarks.inference import serial
    from inference import Scorer
    from inference.members import MEMBERS
    from inference.networks.torch_networks import load_member
    from inference.scorer import Video
    from inference.settings import Settings, resolve

    names = members(card)
    folder, first = models(card), video(card)
    copies = [first, *(first.with_name(f"{number}.mp4") for number in range(1, 1 if card.dry else 32))]
    for copy in copies[1:]:
        copy.hardlink_to(first)
    each = float("nan")
    for precision in PRECISIONS:
        how: dict[str, Any] = {"models": folder, "device": card.device, "precision": precision, "evidence": False}
        with Scorer(members=",".join(names), runtime="torch", **how) as scorer:
            scorer.score(first)  # takes what only a first run costs
            loaded = sum(scorer.seconds.values())
            began = time.perf_counter()
            results = list(scorer.score_many(copies))
            seconds = (time.perf_counter() - began) / len(copies)
            networks = (sum(scorer.seconds.values()) - loaded) / len(copies)
        assert all(result.status == "ok" for result in results), [result.reason for result in results]
        spent = [result.seconds for result in results]
        shares = ", ".join(f"{stage} {statistics.mean(one[stage] for one in spent):.2f}" for stage in spent[0])
        each = seconds if precision == "fp32" else each
        said = f"{seconds:.2f} s a video, {3600 / seconds:.0f} an hour; networks {networks:.2f}, of a core {shares}"
        yield Row(f"{precision}, {len(copies)} videos", said, "0.9 s")
    setup = resolve(Settings(models=folder, members=",".join(names), device=card.device, runtime="torch"))
    loaded_members = {name: (MEMBERS[name], load_member(MEMBERS[name], folder, card.device)) for name in names}
    alone = [Video(path.name, path) for path in copies[:2]]
    serial(alone[:1], setup, loaded_members)
    began = time.perf_counter()
    serial(alone, setup, loaded_members)
    seconds = (time.perf_counter() - began) / len(alone)
    yield Row("the serial way, fp32", f"{seconds:.2f} s a video, {seconds / each:.1f} times ours", "10 times")


def faces_of(card: Card, wanted: "dict[str, Member]") -> "list[Face]":
    """The video's faces with the crops of members."""
    from faces.detector import default_weights
    from inference.members import crop_kinds
    from inference.sampling.look import Wanted, sample
    from inference.settings import Settings

    (found,) = sample(video(card), Wanted(Settings(), crop_kinds(wanted.values()), default_weights()))
    return found.faces


def precision(card: Card) -> Iterator[Row]:
    """Score the video by each precision, with random members and the shipped ones, and compare with the CPU."""
    from inference.members import KNOWN, MODELS, SHIPPED, Member
    from inference.networks.torch_networks import load_member, networks_of

    names = (*members(card), *SHIPPED)
    folders = dict.fromkeys(names, models(card)) | dict.fromkeys(SHIPPED, MODELS)
    wanted = {name: KNOWN[name] for name in names}
    faces = faces_of(card, wanted)

    @cache
    def loaded(device: str) -> dict[str, tuple[Member, nn.Module]]:
        return {name: (member, load_member(member, folders[name], device)) for name, member in wanted.items()}

    def scores(device: str, precision: str) -> dict[str, float]:
        found = networks_of(loaded(device), device, precision).scores([faces])[0]
        return {name: score.value for name, score in found.items() if score.value is not None}

    exact = scores("cpu", "fp32")
    yield Row("members with a score on the CPU", str(len(exact)), str(len(names)))
    for chosen in ("fp32", "tf32", *PRECISIONS[1:]):
        found = scores(card.device, chosen)
        if found.keys() != exact.keys():
            raise RuntimeError(f"{chosen}: scores by {sorted(found)}, on the CPU by {sorted(exact)}")
        differences = {name: abs(found[name] - exact[name]) for name in exact}
        worst = max(differences, key=differences.__getitem__)
        shipped = max(differences[name] for name in SHIPPED if name in differences)
        said = f"at most {differences[worst]:.1e} ({worst}), shipped weights {shipped:.1e}"
        yield Row(chosen, said, "2e-06" if chosen == "fp32" else "")


def memory(card: Card) -> Iterator[Row]:
    """Score with all memory, then with a cap on it, and compare limits and scores."""
    from inference.members import MEMBERS
    from inference.networks.torch_networks import load_member, networks_of

    member = MEMBERS[CAPPED]
    faces = faces_of(card, {CAPPED: member})
    loaded = {CAPPED: (member, load_member(member, models(card), card.device))}
    exact, capped = (networks_of(loaded, card.device, limits={CAPPED: 256}) for _ in range(2))
    if card.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    score = exact.scores([faces])[0][CAPPED].value
    with cap(card, capped):
        found = capped.scores([faces])[0][CAPPED].value
    if score is None or found is None:
        raise RuntimeError("the member has no score")
    crops = len(faces[0].crops[member.crop_kind])
    limit = capped.limits[CAPPED]
    if limit >= crops:
        raise RuntimeError(f"memory did not run out: still {limit} at a time")
    yield Row(f"{crops} crops at a time do not fit; halved to", str(limit), f"below {crops}")
    yield Row("the score moves by", f"{abs(score - found):.1e}", "1e-06")


@contextmanager
def cap(card: Card, capped: "Networks") -> Iterator[None]:
    """Leave half of the memory that was needed since the peak was reset; on a CPU a network says that it ran out."""
    if card.device == "cuda":
        needed = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.5 * needed) / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
        return
    member, network = capped.members[CAPPED]

    def small(pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory, in a dry run")
        return network(pixels, exact)

    small.is_exact = True  # type: ignore[attr-defined]
    capped.members = {CAPPED: (member, small)}  # type: ignore[dict-item]
    yield


def detector(card: Card) -> Iterator[Row]:
    """Detect in the same frames on the device and on the CPU."""
    import faces.retinaface  # noqa: F401  # a dry run must not miss what only a card's detector needs
    from faces.detector import FaceDetector, default_weights
    from faces.video import read_frames

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    frames = list(islice(read_frames(video(card)), 64))
    sides = {"cpu": FaceDetector(default_weights())}
    sides["device"] = FaceDetector(default_weights(), card.device)
    found, times = {}, {}
    for side, network in sides.items():
        found[side] = network.detect(frames)
        began = time.perf_counter()
        network.detect(frames)
        times[side] = (time.perf_counter() - began) / len(frames)
    said = ", ".join(f"{side} {1000 * seconds:.1f}" for side, seconds in times.items())
    yield Row(f"{len(frames)} frames, ms each", said)
    sure = {side: [boxes[boxes[:, 4] > 0.5] for boxes in of_frames] for side, of_frames in found.items()}
    counts = {side: sum(map(len, of_frames)) for side, of_frames in sure.items()}
    alike = sum(len(one) == len(other) for one, other in zip(*sure.values(), strict=True))
    yield Row("boxes above .5, CPU and device", f"{counts['cpu']} and {counts['device']}", "equal")
    yield Row("frames with as many boxes on both", f"{alike} of {len(frames)}", "all")
    apart = [
        float(np.abs(one[:, :4] - other[:, :4]).max())
        for one, other in zip(*sure.values(), strict=True)
        if len(one) == len(other) > 0
    ]
    yield Row("largest difference of a corner", f"{max(apart, default=float('nan')):.1e} pixels", "0.01")


def resume(card: Card) -> Iterator[Row]:
    """Train some steps, begin again from the checkpoint of the middle, and compare the last checkpoints."""
    from training.checkpoint import read_checkpoint

    crops = training_crops(card)
    first, last = (2, 4) if card.dry else (10, 20)
    side = 64 if card.dry else 224
    values = {
        "pretrained": "null", "train_root": crops, "val_root": crops, "input_size": side,
        "train_list": crops / "list.txt", "val_lists.val_30-39": crops / "list.txt", "batch_size": 4,
        "reference_world_size": 1, "lr_scheduler.max_iter": last + 1, "val_freq": first, "print_freq": 1, "workers": 0,
    }  # fmt: skip
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    config = NETWORKS["resnet34"]
    place = ["--experiments", str(card.folder / "runs"), "--datetime", "now", "--device", card.device]
    command = [sys.executable, "-m", "image_based.main", "--config", config, *place, *words]
    began = time.perf_counter()
    finish(command)
    yield Row(f"{last + 1} steps of resnet34, all of it", f"{time.perf_counter() - began:.1f} s")
    (end,) = (card.folder / "runs").glob(f"*/now/ckpt_iter_{last}.pth.tar")
    through = read_checkpoint(end)["state_dict"]
    for path in (*end.parent.glob(f"ckpt_iter_{last}*"), end.parent / "finished"):
        path.unlink()
    finish([*command, "--recover"])
    again = read_checkpoint(end)["state_dict"]
    apart = max(float((value.double() - again[name].double()).abs().max()) for name, value in through.items())
    said = "the same bits" if apart == 0 else f"at most {apart:.1e} apart"
    yield Row(f"weights after going on from step {first}", said, "the same bits")


def finish(command: list[str]) -> None:
    """Run a command to its end. Raises RuntimeError with the end of what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stderr[-500:]}")


def training_crops(card: Card) -> Path:
    """A folder of noise as crops, and their list."""
    from common.images import write_image

    folder, lines = card.folder / "crops", []
    noise = np.random.RandomState(0)
    for number in range(8):
        (folder / f"v{number}").mkdir(parents=True)
        for frame in (1, 2):
            write_image(
                folder / f"v{number}/frame{frame}_face1.png", noise.randint(0, 256, (96, 96, 3), dtype=np.uint8)
            )
        lines.append(f"v{number}/frame%d_face1.png 1 1 2 {number % 2}")
    (folder / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
