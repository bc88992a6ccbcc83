"""``histoexpr doctor``: what this machine has, and what it lacks."""

import importlib.util
import os
import platform
import shutil
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from ._command import Command
from ._output import show

CORE = ("torch", "timm", "scikit-learn", "scanpy", "anndata", "faiss-cpu")
# What needs a package that not everyone has: its module, and the extra that brings it.
OPTIONAL = {
    "TextureFeaturizer, stain": ("skimage", "texture"),
    "pictures and reports": ("matplotlib", "plot"),
    "SVS, NDPI and MRXS slides": ("openslide", "slides"),
    "SpatialData": ("spatialdata", "spatialdata"),
    "zarr": ("zarr", "slides"),
}
_PATIENCE = 3  # seconds


@click.command(
    cls=Command,
    short_help="Say what this machine has, and what it lacks.",
    epilog="\b\nExample:\n  histoexpr doctor --json",
)
@click.option("--no-hub", is_flag=True, help="Do not try to reach the model hub.")
@click.option("--json", "as_json", is_flag=True)
def command(no_hub, as_json):
    """Versions, optional readers, the device, access to the model hub, and cache folders.

    The exit code is 0 when everything that histoexpr cannot do without is there.
    """
    found = {name: _version(name) for name in ("histoexpr", *CORE)}
    values = {
        "python": platform.python_version(),
        **{name: number or "not installed" for name, number in found.items()},
        **{what: _reader(*needs) for what, needs in OPTIONAL.items()},
        "device": _device(),
        "processors": os.cpu_count(),
        "model hub": "not tried" if no_hub else _hub(),
        **_caches(),
    }
    show(values, as_json)
    missing = [name for name, number in found.items() if number is None]
    if missing:
        raise click.ClickException(f"not installed: {', '.join(missing)}. pip install histoexpr.")


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _reader(module, extra):
    there = importlib.util.find_spec(module) is not None
    return f"yes ({module})" if there else f"no: pip install 'histoexpr[{extra}]'"


def _device():
    import torch

    from ..utils._torch import resolve_device

    device = resolve_device()
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return f"cuda: {torch.cuda.get_device_name(device)}, {memory:.0f} GiB"
    return f"{device.type}, {torch.get_num_threads()} threads"


def _hub():
    """Whether the model hub answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "switched off (HF_HUB_OFFLINE)"
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass
    except OSError as error:
        reason = str(getattr(error, "reason", error))
        return f"not reached ({reason}): use weights from local files"
    return f"reached ({constants.ENDPOINT})"


def _caches():
    """Where weights are kept, and how much room there is."""
    import torch
    from huggingface_hub import constants

    return {
        "weights of the hub": _folder(Path(constants.HF_HUB_CACHE)),
        "weights of torch": _folder(Path(torch.hub.get_dir())),
    }


def _folder(path):
    there = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free / 2**30
    state = "not there yet" if there != path else "there"
    locked = "" if os.access(there, os.W_OK) else ", cannot be written"
    return f"{path} ({state}{locked}; {free:.0f} GiB free)"
