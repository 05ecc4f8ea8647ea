"""What a measurement ran on: the processor or GPU, and the versions of what computed."""

import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """The name of the GPU or of the processor, which Linux alone tells."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of memory of the machine; None where the system does not say, as Windows."""
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not hasattr(os, "sysconf") or not set(names) <= os.sysconf_names.keys():
        return None
    return os.sysconf(names[0]) * os.sysconf(names[1])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def gpu_libraries() -> dict[str, str]:
    """Versions of CUDA, or HIP, and cudnn, with which torch was built."""
    found = {"CUDA": torch.version.cuda, "HIP": torch.version.hip, "cudnn": torch.backends.cudnn.version()}
    return {name: str(number) for name, number in found.items() if number}


def now(device: torch.device) -> float:
    """Seconds on a clock, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
