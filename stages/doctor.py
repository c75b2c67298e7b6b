"""What this machine has: versions, device, optional parts; and what would make it faster."""

import importlib.metadata
import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.core.raster import available_backends
from stages.errors import MissingPartError
from stages.io.threads import usable_cores
from stages.io.weights import find_vgg16
from stages.progress import Report, Silent
from stages.recipe import shipped_recipes
from stages.shipped import shipped_models

__all__ = ["DoctorRequest", "DoctorResult", "run"]

PACKAGES = ("torch", "numpy", "h5py", "numba", "kornia", "pydantic", "typer", "opencv-python-headless", "trimesh")


@dataclass(frozen=True)
class DoctorRequest:
    """There is nothing to choose."""


@dataclass(frozen=True)
class DoctorResult:
    facts: dict[str, str]
    advice: tuple[str, ...]


def run(request: DoctorRequest, *, report: Report = Silent()) -> DoctorResult:
    """Look around; nothing is changed and nothing is downloaded."""
    cores, threads = usable_cores(), torch.get_num_threads()
    extensions = torch.backends.cpu.get_cpu_capability()
    flags = _cpu_flags()
    facts = {
        "sym3d": f"{_version('sym3d')} ({Path(__file__).resolve().parents[1]})",
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{package: _version(package) for package in PACKAGES},
        "device": _device(),
        "threads": f"{threads} of {cores} cores",
        "vector instructions": extensions + (", bf16 in hardware" if flags & {"avx512_bf16", "amx_bf16"} else ""),
        "rasteriser": ", ".join(available_backends()),
        "tensorboard": _part("tensorboard", "tensorboard"),
        "pytorch3d": _part("pytorch3d", "pytorch3d"),
        "usd-core": _part("pxr", "usd"),
        "shipped models": ", ".join(shipped_models()) or "none",
        "shipped recipes": ", ".join(shipped_recipes()),
    }
    advice = []
    try:
        facts["VGG16 weights"] = str(find_vgg16())
    except MissingPartError as error:
        facts["VGG16 weights"] = error.what
        advice.append(f"for the perceptual loss of the paper: {error.fix}")
    if not torch.cuda.is_available():
        advice.append("a CUDA device trains the full-size networks one to two orders of magnitude faster than a CPU")
    if threads < cores:
        advice.append(f"torch uses {threads} of {cores} cores; unset OMP_NUM_THREADS, or set it to {cores}")
    if "AVX512" not in extensions and "avx512f" in flags:
        advice.append("this CPU has AVX-512 but torch does not use it; unset ATEN_CPU_CAPABILITY")
    return DoctorResult(facts, tuple(advice))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _part(module: str, extra: str) -> str:
    there = importlib.util.find_spec(module) is not None
    return "installed" if there else f"not installed (optional: pip install 'sym3d[{extra}]')"


def _device() -> str:
    if not torch.cuda.is_available():
        return f"cpu ({_cpu_name()})"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"cuda ({torch.cuda.get_device_name(0)}, {memory:.0f} GiB, CUDA {torch.version.cuda})"


def _cpu_info(key: str) -> str:
    """The first value of a line in Linux's list of CPUs; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())
