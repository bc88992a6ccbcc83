"""The network of a featurizer, built at fit and, from the same weights, again after loading."""

from ..exceptions import FileError, InputError
from ..utils._torch import resolve_device
from ._backbone import Backbone
from ._inference import compute, inference_copy
from ._precision import choose_precision
from ._resolve import find_weights
from ._weights import hash_file, hash_state, read_weights


class NetworkMixin:
    """For a featurizer with the parameters and the attributes of TimmFeaturizer.

    Its `_backbone` is the network as it is trained and stored, in float32; `_ready` computes.
    """

    def _choose_precision(self, X):
        """Choose it, or put it off, keeping X, where the network is yet to be trained."""
        self._ready, self._seen = None, None
        if self.trainable and not self.trained_:
            self.precision_, self.precision_check_, self._seen = "float32", None, X
            return
        self.precision_, self.precision_check_ = choose_precision(
            self.precision, self._backbone, X, resolve_device(self.device), self.weights_hash_
        )

    def _compute(self, patches):
        """Features of a batch, (n, height, width, 3) of uint8, in the precision of fit."""
        device = resolve_device(self.device)
        if self._ready is None:
            if self._backbone is None:  # this object was loaded from a file
                self._backbone = Backbone(self._load(), self.data_config_, self.pooling)
                self._weights = None
            self._ready = inference_copy(self._backbone, self.precision_)
        return compute(self._ready.to(device), patches, device, self.precision_)

    def _load(self):
        """The network with its weights, which must be those of fit once there was one."""
        if self._weights is not None:
            model = self._spec.build()
            model.load_state_dict(self._weights)
            return model
        if self.seed_ is not None:
            model = self._spec.build(seed=self.seed_)
            self._check_hash(hash_state(model.state_dict()), "random weights", "drawn under seed_")
            return model
        path = self._or_say_how(find_weights, self._spec, checkpoint_path=self.checkpoint_path)
        self._check_hash(hash_file(path), f"the weights file {str(path)!r}", "read")
        return self._spec.build(read_weights(path), origin=str(path))

    def _check_hash(self, found, what, done):
        if self.weights_hash_ not in (None, found):
            raise InputError(
                f"{what}, {done} again, are not the weights of fit (SHA-256 {found[:12]}..., at "
                f"fit {self.weights_hash_[:12]}...): features would not compare. Bring the old "
                "weights back, or fit again; store_weights_in_pickle=True avoids this."
            )
        self.weights_hash_ = found

    def _or_say_how(self, find, *args, **kwargs):
        try:
            return find(self.model_name, *args, **kwargs)
        except OSError as error:
            if self.checkpoint_path is not None:
                raise
            raise FileError(
                f"the pretrained weights of {self.model_name!r} cannot be had: {error} Give a "
                "local file with checkpoint_path=, or a folder with model_name='local-dir:...'; "
                "pretrained=False draws random weights for a name of timm's."
            ) from error

    def __getstate__(self):
        state = dict(super().__getstate__())
        backbone = state.pop("_backbone", None)
        if "weights_hash_" in state:
            state["_backbone"] = state["_ready"] = state["_seen"] = None
            stored = self.store_weights_in_pickle or self.trained_
            if backbone is not None and stored:
                weights = backbone.model.state_dict()
                state["_weights"] = {k: v.cpu().contiguous() for k, v in weights.items()}
        return state
