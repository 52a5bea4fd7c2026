"""Run networks by ONNX Runtime on the CPU, without PyTorch."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.command import delay_signals
from common.errors import CheckpointError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ARENA_BYTES = 512 << 20  # of the first block; a SlowFast on 150 frames takes 650 MB


def load_session(path: Path, threads: int, take_turns: bool = False) -> "InferenceSession":
    """Load the network of an ONNX file, to run on this number of threads.

    Networks that `take_turns` share one arena of memory, so that together they need no more than the largest of them.
    Raises FileNotFoundError, or CheckpointError if the file is unreadable.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # newer releases report to their maker, and leave files behind
    with delay_signals():  # a signal while its compiled module is loaded leads to an ImportError or an abort
        import onnxruntime  # takes 0.1 s, which processes without a network need not spend
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # A thread that spins while it waits takes the core from the process that finds the next video's faces.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if take_turns:
        _share_an_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.enable_mem_pattern = False  # it would plan memory for each size of input
    options.log_severity_level = 3  # errors
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (runtime.Fail, runtime.InvalidGraph, runtime.InvalidProtobuf, runtime.RuntimeException) as error:
        raise CheckpointError(f"{path} is not a readable ONNX file: {error}") from error


@cache
def _share_an_arena() -> None:
    """Make the arena of this process: one block, of which Linux provides what is used, and which grows by doubling.

    A free piece is cut to the requested size. By default a piece that is up to twice as large, or 128 MB larger, would
    be handed out whole, and all eleven members would take 0.13 GB more.
    """
    import onnxruntime

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = onnxruntime.OrtArenaCfg({"initial_chunk_size_bytes": ARENA_BYTES, "max_dead_bytes_per_chunk": 1 << 20})
    onnxruntime.create_and_register_allocator(memory, settings)


def run_session(
    session: "InferenceSession", inputs: Mapping[str, np.ndarray], name: str, outputs: Sequence[str] | None = None
) -> list[np.ndarray]:
    """Run a network on arrays by input, each [N, ...]: its outputs, all of them or those in `outputs`, in that order.

    Raises MemoryError, which holds the network's `name`, if memory runs out.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    try:
        return session.run(outputs, dict(inputs), options)
    except (runtime.Fail, runtime.RuntimeException) as error:
        if "alloc" not in str(error).lower():
            raise
        raise MemoryError(f"{name}: {error}") from error


def give_back_freed_memory() -> None:
    """Return the memory that this process has freed so far to the kernel. Works with glibc only."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
