"""Device and precision choice, and seeds that leave the global generators alone."""

import contextlib
import os
import threading

import numpy as np
import torch

from ..exceptions import InputError

PRECISIONS = {"auto", "float32", "bfloat16"}


def resolve_device(device="auto"):
    """The torch device to compute on.

    Parameters
    ----------
    device : "auto", str or torch.device, default="auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the device's name is not known to torch, or the device is not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"device={device!r} is not a torch device; use 'auto', 'cpu', 'cuda' or 'cuda:0'."
        ) from error
    missing = {
        "cuda": (resolved.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
    }
    if missing.get(resolved.type, False):
        raise InputError(
            f"device={device!r} was asked for, but torch finds no such device on this machine; "
            "use device='auto' or device='cpu'."
        )
    return resolved


def sent(tensor, device):
    """A tensor of the CPU on a device; a GPU takes it in its turn, and is not waited for.

    Parameters
    ----------
    tensor : Tensor
    device : torch.device

    Returns
    -------
    Tensor
    """
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def autocast(device, precision):
    """The context in which a network computes.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bfloat16"}
        "auto" is bfloat16 on CUDA and float32 elsewhere.

    Returns
    -------
    torch.autocast
    """
    low = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def computes_bfloat16(device):
    """Whether a device has instructions for bfloat16, rather than taking steps to imitate it.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    bool
        For NVIDIA GPUs from Ampere on, and for x86 processors with AVX512-BF16 or AMX; others
        were not measured.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


@contextlib.contextmanager
def threads_kept():
    """Run a block after which torch has as many threads as before.

    numba, which scanpy uses, sets the threads of the OpenMP library that torch shares with it.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


# torch has one generator for all threads: two that train at once would draw each other's numbers.
_drawing = threading.RLock()


def _renew_lock():
    global _drawing
    _drawing = threading.RLock()


if hasattr(os, "register_at_fork"):  # a lock held by another thread would stay held in the child
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def isolated_seed(seed, device="cpu"):
    """Run a block under its own torch seed; the global generators are as before afterwards.

    Of several threads, one at a time runs such a block.

    Parameters
    ----------
    seed : int
    device : torch.device or str, default="cpu"
        A CUDA device's generator is seeded and restored too.
    """
    device = torch.device(device)
    cuda = [device.index or 0] if device.type == "cuda" else []
    with _drawing, torch.random.fork_rng(devices=cuda):
        torch.random.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(cuda[0]):
                torch.cuda.manual_seed(seed)
        yield


def draw_seed(random_state):
    """An int seed from a ``random_state``.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState or None
        An int always gives the same seed; a RandomState moves on; None is fresh entropy, and
        leaves NumPy's global generator alone.

    Returns
    -------
    int
        In [0, 2**31).
    """
    from ._sklearn import check_random_state

    if random_state is None:
        random_state = int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
