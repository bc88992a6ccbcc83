"""Which network a timm name means, where its weights are, and how it is built."""

import difflib
import logging
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

from ..exceptions import FileError, InputError, MissingFileError
from ..utils import name_some
from ..utils._torch import isolated_seed
from ..utils._validation import as_array
from ._hub import hub_file, url_file
from ._weights import PREFERRED, check_file, drop_head, folder_file, read_metadata

logger = logging.getLogger(__name__)

_SAFE = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}
_NOT_NEEDED = ("label_names", "label_descriptions", "state_dict")  # long; the class names


@dataclass(frozen=True)
class BackboneSpec:
    """All that is needed to build a backbone, except its weights.

    Attributes
    ----------
    architecture : str
        timm name without tag.
    config : dict
        timm's pretrained config, with what the user set in it.
    model_args : dict
        Arguments of ``timm.create_model``.
    """

    architecture: str
    config: dict
    model_args: dict

    def build(self, state=None, *, seed=0, origin="the weights"):
        """Build the network, on the CPU, without a classifier.

        Parameters
        ----------
        state : dict of str to Tensor, default=None
            Weights; None draws them under ``seed``. torch's global generator is not touched.
        seed : int, default=0
        origin : str
            Where the weights are from, for the message.

        Returns
        -------
        Module
            In eval mode; ``pretrained_cfg`` is its config.

        Raises
        ------
        ValueError
            If weights are missing, unknown or of another shape.
        """
        import timm

        config = {**self.config, "source": None}
        if state is not None:
            state = drop_head(state, config.get("classifier"))
            # Passed in here, timm converts older layouts and resizes position embeddings; with
            # a config without classes it is strict about the keys.
            config.update(state_dict=state, num_classes=0, classifier=None)
        arguments = {**self.model_args, "num_classes": 0}
        with isolated_seed(seed):
            try:
                model = timm.create_model(
                    self.architecture,
                    pretrained=state is not None,
                    pretrained_cfg=config,
                    **arguments,
                )
            except RuntimeError as error:
                if state is None:
                    raise
                raise InputError(self._misfit(state, origin, error)) from error
        model.pretrained_cfg = {
            k: v for k, v in model.pretrained_cfg.items() if k not in _NOT_NEEDED
        }
        return model.eval()

    def _misfit(self, state, origin, error):
        own = self.build().state_dict()
        counted = {k for k in own if k.endswith("num_batches_tracked")}
        differences = {
            "lacks": own.keys() - state.keys() - counted,
            "has unknown": state.keys() - own.keys(),
            "has another shape of": {
                k for k in own.keys() & state.keys() if own[k].shape != state[k].shape
            },
        }
        found = "; ".join(f"{k} {name_some(sorted(v))}" for k, v in differences.items() if v)
        return (
            f"{origin} does not fit {self.architecture!r}: it {found or str(error)[:300]}. Are "
            "model_name and model_kwargs those that it was trained with?"
        )


def resolve_backbone(
    model_name, *, checkpoint_path=None, model_kwargs=None, mean=None, std=None, input_size=None
):
    """Find out which network a name means, and what was said about it where.

    What is given here counts more than a checkpoint's metadata, and that more than timm's own.

    Returns
    -------
    BackboneSpec

    Raises
    ------
    ValueError
        If timm does not know the name, or the checkpoint is of another architecture.
    OSError
        If a file is missing, or the hub cannot be reached for the config of ``hf-hub:``.
    """
    path = None if checkpoint_path is None else check_file(checkpoint_path)
    stated, stated_config, stated_args = (None, {}, {}) if path is None else read_metadata(path)
    source, name = split_source(model_name)
    if source is None:
        architecture, config, model_args = _registered(name)
    elif source == "hf-hub" and path is not None and not (path.parent / "config.json").is_file():
        if stated is None:
            raise InputError(
                f"model_name={model_name!r} says its architecture on the hub, which is not asked "
                "when checkpoint_path is given, and neither the file's metadata nor a config.json "
                "beside it says it. Give timm's name of the architecture and its model_kwargs."
            )
        architecture, config, model_args = _registered(stated)
    elif source == "hf-hub":
        folder = hub_file(name, ["config.json"]).parent if path is None else path.parent
        architecture, config, model_args = _from_folder(folder)
        config["hf_hub_id"] = name
    else:
        architecture, config, model_args = _from_folder(name)
    if stated is not None and stated.partition(".")[0] != architecture:
        raise InputError(
            f"checkpoint_path={str(path)!r} holds {stated!r} by its own metadata, but model_name="
            f"{model_name!r} is {architecture!r}. Pass model_name={stated!r}."
        )
    config = {**config, **stated_config}
    model_args = {**model_args, **stated_args}
    own_args = dict(model_kwargs or {})
    if input_size is None:
        input_size = own_args.get("img_size")
    elif "img_size" in model_args:
        model_args["img_size"] = _pair(input_size)
    given = {
        "mean": None if mean is None else _per_channel(mean, "mean"),
        "std": None if std is None else _per_channel(std, "std"),
        "input_size": None if input_size is None else (3, *_pair(input_size)),
    }
    config.update({k: v for k, v in given.items() if v is not None})
    if config.get("license"):
        logger.info("%s: weights under licence %s", model_name, config["license"])
    return BackboneSpec(architecture, config, {**model_args, **own_args})


def find_weights(model_name, spec, checkpoint_path=None):
    """The file that holds the pretrained weights; a checkpoint decides alone.

    Returns
    -------
    Path

    Raises
    ------
    OSError
        If there is none, or none can be had; says why.
    """
    if checkpoint_path is not None:
        return check_file(checkpoint_path)
    source, name = split_source(model_name)
    if source == "local-dir":
        return folder_file(name)
    if spec.config.get("hf_hub_id"):
        last = spec.config.get("hf_hub_filename") or PREFERRED[1]
        names = list(dict.fromkeys([_SAFE.get(last, last), last]))
        return hub_file(spec.config["hf_hub_id"], names)
    if spec.config.get("url"):
        return url_file(spec.config["url"])
    raise FileError("timm knows of none.")


def split_source(model_name):
    """``"hf-hub:a/b"`` -> ``("hf-hub", "a/b")``; a plain name -> ``(None, name)``."""
    source, colon, name = model_name.partition(":")
    source = source.lower().replace("_", "-")
    return (source, name) if colon and source in ("hf-hub", "local-dir") else (None, model_name)


def _registered(name):
    """Architecture, config and arguments of a name that timm itself knows."""
    import timm
    from timm.models import get_deprecated_models, get_pretrained_cfg

    name = get_deprecated_models().get(name, name)
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=5)
        hint = f" Near it: {name_some(near)}." if near else ""
        if "/" in name:
            hint = f" Is it 'hf-hub:{name}' or 'local-dir:{name}'?"
        raise InputError(
            f"timm knows no model {name!r}.{hint} timm.list_models() lists them; a name of the "
            "hub begins with 'hf-hub:'."
        )
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        raise InputError(f"timm knows no {name!r}, but {name_some(tags) or 'no tags'}.") from error
    config = {"architecture": architecture} if config is None else config.to_dict()
    return architecture, config, {}


def _from_folder(folder):
    """Architecture, config and arguments by the config.json of a folder."""
    from timm.models._hub import load_model_config_from_path

    if not (Path(folder).expanduser() / "config.json").is_file():
        raise MissingFileError(f"{str(folder)!r} holds no config.json that names the network.")
    config, architecture, model_args = load_model_config_from_path(Path(folder).expanduser())
    config = {k: v for k, v in config.items() if k not in _NOT_NEEDED and k != "file"}
    return _registered(architecture)[0], config, dict(model_args or {})


def _pair(size):
    values = as_array([size, size] if isinstance(size, Integral) else size, "input_size").ravel()
    if len(values) != 2 or not all(isinstance(v, Integral) and v >= 1 for v in values):
        raise InputError(
            f"input_size must be an int or (height, width), at least 1; got {size!r}."
        )
    return tuple(int(v) for v in values)


def _per_channel(values, name):
    numbers = as_array(values, name, np.float64).ravel().tolist()
    finite = len(numbers) in (1, 3) and np.isfinite(numbers).all()
    if not finite or (name == "std" and min(numbers) <= 0):
        raise InputError(
            f"{name} must be a number or three (red, green, blue), finite, for pixels in 0..1"
            f"{', above 0' if name == 'std' else ''}; got {values!r}."
        )
    return tuple(numbers * (3 // len(numbers)))
