"""Checkpoint files: what they hold, what their metadata says, and their hash."""

import hashlib
import json
import pickle
from pathlib import Path

import torch

from ..exceptions import FileError, InputError, MissingFileError

PREFERRED = (
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
PREFIXES = ("_orig_mod.", "module.", "model.")
# Heads made of several layers, of which timm names only the last one.
INNER_LAYERS = (".l", ".linear", ".fc.fc2")


def check_file(path):
    """The path of a checkpoint, or an error that says what is there instead."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise FileError(
            f"checkpoint_path={str(path)!r} is a folder; give the file in it, or "
            f"model_name='local-dir:{path}' for a folder with config.json and weights."
        )
    if not path.is_file():
        raise MissingFileError(f"there is no file at checkpoint_path={str(path)!r}.")
    return path


def folder_file(folder):
    """The weights file of a folder, as ``local-dir:`` finds it."""
    folder = Path(folder).expanduser()
    for name in PREFERRED:
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for s in ("safetensors", "pth", "bin") for p in folder.glob(f"*.{s}"))
    if len(found) == 1:
        return found[0]
    raise MissingFileError(
        f"{str(folder)!r} holds {len(found) or 'no'} weight files, and none is named as the hub "
        f"names them ({PREFERRED[0]}, {PREFERRED[1]}); name the file with checkpoint_path=."
    )


def read_weights(path):
    """The tensors of a checkpoint.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or a file of ``torch.save`` that holds nothing but tensors.

    Returns
    -------
    dict of str to Tensor
        Floating point as float32; ``{"state_dict": ...}`` and the like, and a prefix that all
        keys share ("module."), are taken off.

    Raises
    ------
    ValueError
        If the file cannot be read, or is not a state dict.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{str(path)!r} holds more than tensors, or is no checkpoint, and is not loaded: it "
            "could run code. Save model.state_dict() alone, best as safetensors."
        ) from error
    except Exception as error:
        raise InputError(
            f"{str(path)!r} cannot be read as a checkpoint ({type(error).__name__}: {error}); is "
            "it whole?"
        ) from error
    while isinstance(state, dict) and (inner := [w for w in WRAPPERS if _is_dict(state.get(w))]):
        state = state[inner[0]]
    if not (_is_dict(state) and state and all(torch.is_tensor(v) for v in state.values())):
        raise InputError(f"{str(path)!r} is not a state dict (names to tensors).")
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): v for key, v in state.items()}
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _is_dict(value):
    return isinstance(value, dict)


def read_metadata(path):
    """What the metadata of a safetensors file says of its model.

    Parameters
    ----------
    path : Path
        Other files have none.

    Returns
    -------
    architecture : str or None
        timm name without tag.
    config : dict
        In timm's words: mean, std, input_size, interpolation.
    model_args : dict
        pad_type, global_pool, and what ``model_args`` (JSON) holds.

    Raises
    ------
    ValueError
        If a value cannot be understood.
    """
    if path.suffix != ".safetensors":
        return None, {}, {}
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:
        raise InputError(f"{str(path)!r} cannot be read as safetensors: {error}.") from error
    config, model_args = {}, {}
    key = None
    try:
        for key in ("mean", "std"):
            if key in metadata:
                config[key] = _three([float(v) for v in metadata[key].split(",")])
        for key in ("input", "input_size"):
            if key in metadata:
                size = [int(v) for v in metadata[key].split(",")]
                config["input_size"] = _three([3, *size, *size][:3] if len(size) < 3 else size)
        key = "model_args"
        model_args.update(json.loads(metadata.get(key, "{}")))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the metadata of {str(path)!r} says {key}={metadata[key]!r}, which is not understood "
            "('0.5,0.5,0.5' for mean and std, '224' for input, JSON for model_args)."
        ) from error
    if "interpolation" in metadata:
        config["interpolation"] = metadata["interpolation"]
    for key, argument in (("pad_type", "pad_type"), ("pool", "global_pool")):
        if key in metadata:
            model_args.setdefault(argument, metadata[key])
    return metadata.get("architecture"), config, model_args


def _three(values):
    if len(values) != 3:
        raise InputError("expected three numbers")
    return tuple(values)


def drop_head(state, classifier):
    """A state dict without its classifier, which features do not need."""
    names = [classifier] if isinstance(classifier, str) else list(classifier or ())
    inner = [name.rpartition(".")[0] for name in names if name.endswith(INNER_LAYERS)]
    heads = tuple(f"{name}." for name in names + inner)
    heads += ("fc.", "classifier.", "head.weight", "head.bias")
    return {key: value for key, value in state.items() if not key.startswith(heads)}


def hash_file(path):
    """SHA-256 of a file, as ``sha256sum`` gives it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def hash_state(state):
    """SHA-256 over the names, types, shapes and values of a state dict."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()
