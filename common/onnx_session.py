"""ONNX Runtime on the CPU, which runs networks without PyTorch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import CheckpointError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def load_session(path: Path, threads: int, arena: bool = True) -> "InferenceSession":
    """The network of an ONNX file, to be run on so many threads. Raises FileNotFoundError, CheckpointError.

    Without an `arena` the session gives its memory back after each run. Where several networks take turns in a process
    that keeps freed memory (`common.device.keep_freed_memory`), this takes half the memory and a tenth less time.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # newer releases report to their maker, and leave files behind
    import onnxruntime  # takes .1 s, which processes that run no network need not spend
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    options.log_severity_level = 3  # errors
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (runtime.Fail, runtime.InvalidGraph, runtime.InvalidProtobuf, runtime.RuntimeException) as error:
        raise CheckpointError(f"{path} is not a readable ONNX file: {error}") from error


def run_session(session: "InferenceSession", inputs: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The network's outputs. Raises MemoryError, which names the network, if memory runs out."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    try:
        return session.run(None, dict(inputs))
    except (runtime.Fail, runtime.RuntimeException) as error:
        if "alloc" not in str(error).lower():
            raise
        raise MemoryError(f"{name}: {error}") from error
