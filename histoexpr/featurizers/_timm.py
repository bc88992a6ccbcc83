"""Features of a trained network."""

import contextlib
import os
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from ..data import check_images, reading_order
from ..exceptions import InputError
from ..utils import computed_ahead, unchanged_on_error
from ..utils._sklearn import Estimator, check_is_fitted
from ..utils._torch import PRECISIONS, draw_seed, resolve_device
from ._backbone import POOLINGS, Backbone, check_pooling
from ._cache import CACHE_CONSTRAINT, check_cache, features_once
from ._feature_keys import timm_key
from ._network import NetworkMixin
from ._resolve import resolve_backbone
from ._trainable import TrainableMixin
from ._training_patches import TrainingPatches


class TimmFeaturizer(TrainableMixin, NetworkMixin, TransformerMixin, Estimator):
    """Features of each patch by a network of timm, before its classifier.

    The network is frozen, or, with ``trainable=True``, trained together with the method whose
    `featurizer` this is.

    Patches are resized as a whole to the size the network was trained at (never cropped) and
    standardised as it was trained; `data_config_` shows how. The features of a patch do not
    depend on the other patches.

    Parameters
    ----------
    model_name : str, default="densenet121"
        Any name of ``timm.list_models()``, with or without a tag ("resnet50.a1_in1k"); a
        repository of the model hub, "hf-hub:owner/name" (some ask you to accept a licence and to
        log in, or forbid commercial use); or a folder that holds config.json and weights as the
        hub has them, "local-dir:path".
    pretrained : bool, default=True
        False draws random weights, under `random_state`. Weights that cannot be had are an
        error, never replaced by random ones.
    checkpoint_path : str or path, default=None
        A local file of weights, ``.safetensors`` or of ``torch.save``. It decides alone: no hub
        is asked, whatever `pretrained` says. The metadata of a safetensors file may name the
        architecture (which must be that of `model_name`), mean, std, input, interpolation, pool,
        pad_type and model_args; the parameters below count more.
    model_kwargs : dict, default=None
        Further arguments of ``timm.create_model``, e.g. ``{"dynamic_img_size": True}``.
    mean, std : float or array-like of shape (3,), default=None
        For pixels in 0..1 (red, green, blue). None is what the network was trained with.
    input_size : int or (height, width), default=None
        Pixels that patches are resized to. None is what the network was trained with.
    pooling : {"avg", "cls", "cls+mean", "stages"} or None, default=None
        None is the network's own pooled output. "avg" is the mean of the last feature map, or of
        the patch tokens; "cls" the class token; "cls+mean" the class token followed by the mean
        of the patch tokens (Virchow2). Register tokens never count as patch tokens. "stages" is
        the mean and standard deviation of the map after each of the network's stages (at most
        five): colour and texture beside what the network was trained to tell apart.
    batch_size : int, default=32
        Patches read at once; a GPU computes them at once, too. It bounds the memory and moves
        features by rounding only.
    device : str or torch.device, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        "auto" is bfloat16 where the device has it (GPUs from Ampere on, AVX512-BF16, AMX) and a
        few patches of fit show that it moves the features of each by 6 % of their norm at most,
        to a cosine of .998 at least with those in float32; and float32 elsewhere. "bfloat16" is
        taken at its word, with a warning where "auto" would not take it.
    random_state : int, RandomState or None, default=None
        Decides random weights; pretrained weights use no randomness.
    store_weights_in_pickle : bool, default=False
        Whether a pickle of the fitted object holds the weights. If not, the network is built
        again when it is first used after loading, from the same file, hub or seed, and its
        weights must be those of fit. Trained weights are in the pickle always: nothing else
        could bring them back.
    trainable : bool, default=False
        Train the network with the method whose ``featurizer=`` this is. By itself, or as a step
        of a Pipeline, it has nothing to learn from, and `fit` refuses.
    lr_scale : float, default=0.1
        Learning rate of the network over that of the method's `Trainer`. This and what follows
        matter with ``trainable=True`` alone.
    freeze_batch_norm : bool, default=True
        Keep the statistics of BatchNorm layers, whose scale and shift are trained. In training
        as in prediction, features then depend on no other patch, and a section of one stain
        does not lend its colours to the statistics. False is what the papers' code does, and
        what random weights need, which have no statistics worth keeping.
    grad_checkpointing : bool, default=False
        Compute training batches in chunks of `batch_size` patches, and each once more in the
        backward pass: a third more time, for the memory of one chunk instead of a batch, which
        is a whole section in some methods. With ``freeze_batch_norm=False`` the statistics are
        those of a chunk.
    augment : callable or None, default=None
        Changes training batches at random, such as `PatchAugment()`. Called with a Tensor of
        shape (n, 3, height, width), dtype uint8, on the device of training, it returns one like
        it, of any height and width; its draws must be torch's.
    cache : {"memory"}, str, path, FeatureCache or None, default="memory"
        Where features are kept, so that each patch is computed once, whatever the fold or the
        setting of a search: in this process, 512 MiB at most (see `clear_feature_cache`); in a
        folder, shared by processes; in a `FeatureCache`. None keeps nothing. Of a network that
        is trained with a method, and of a subclass, nothing is kept.
    verbose : int, default=0
        From 1 on, a progress bar over patches.

    Attributes
    ----------
    n_features_out_ : int
        Width of the features.
    patch_shape_ : tuple (height, width)
        Of the patches in fit, in pixels; patches of another size are refused.
    training_patches_ : TrainingPatches
        Their scale, spacing and colours; patches of a far other scale are refused.
    data_config_ : dict
        ``input_size`` (3, height, width) in pixels, ``mean`` and ``std`` for pixels in 0..1, and
        ``interpolation``.
    weights_hash_ : str
        SHA-256 of the weights file; of the weights themselves when they are random or trained.
    seed_ : int or None
        What random weights were drawn under; None for pretrained ones.
    trained_ : bool
        Whether a method has trained the network.
    precision_ : {"float32", "bfloat16"}
        What features are computed in, here and wherever this object is loaded: a processor
        without bfloat16 imitates it, two to ten times slower than it computes in float32. Of a
        network that a method trains, chosen after it.
    precision_check_ : dict or None
        What it was chosen by, if anything was: ``error``, the norm of the difference between
        features in bfloat16 and in float32 over that of the latter, and ``cosine``, both of the
        worst of ``n_patches``, at most 8, spread over the sections.

    See Also
    --------
    TextureFeaturizer : Needs no weights.

    Notes
    -----
    Everything is built in `fit`; the constructor neither imports timm nor reads a file. The hub
    counts as out of reach after 10 seconds; a file that its cache holds is used without asking
    for a newer one.

    A trained network is the `featurizer_` of its method. It transforms by itself;
    ``sklearn.frozen.FrozenEstimator(method.featurizer_)`` takes it into a Pipeline.

    In training, patches are read batch by batch in random order. Section images that together
    exceed the cache (see `histoexpr.data.clear_image_cache`) are then decoded over and over: cut
    the patches once, ``SpotPatches.from_arrays(np.asarray(images), ...)``, or raise its limit.

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr import TimmFeaturizer
    >>> patches = np.zeros((2, 96, 96, 3), dtype=np.uint8)
    >>> TimmFeaturizer("test_resnet", pretrained=False).fit_transform(patches).shape
    (2, 96)
    """

    _parameter_constraints = {
        "model_name": [str],
        "pretrained": ["boolean"],
        "checkpoint_path": [str, os.PathLike, None],
        "model_kwargs": [dict, None],
        "mean": [Real, "array-like", None],
        "std": [Real, "array-like", None],
        "input_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "pooling": [StrOptions(set(POOLINGS)), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "precision": [StrOptions(PRECISIONS)],
        "random_state": ["random_state"],
        "store_weights_in_pickle": ["boolean"],
        "trainable": ["boolean"],
        "lr_scale": [Interval(Real, 0, None, closed="neither")],
        "freeze_batch_norm": ["boolean"],
        "grad_checkpointing": ["boolean"],
        "augment": [callable, None],
        "cache": CACHE_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model_name="densenet121",
        *,
        pretrained=True,
        checkpoint_path=None,
        model_kwargs=None,
        mean=None,
        std=None,
        input_size=None,
        pooling=None,
        batch_size=32,
        device="auto",
        precision="auto",
        random_state=None,
        store_weights_in_pickle=False,
        trainable=False,
        lr_scale=0.1,
        freeze_batch_norm=True,
        grad_checkpointing=False,
        augment=None,
        cache="memory",
        verbose=0,
    ):
        self.model_name = model_name
        self.pretrained = pretrained
        self.checkpoint_path = checkpoint_path
        self.model_kwargs = model_kwargs
        self.mean = mean
        self.std = std
        self.input_size = input_size
        self.pooling = pooling
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.store_weights_in_pickle = store_weights_in_pickle
        self.trainable = trainable
        self.lr_scale = lr_scale
        self.freeze_batch_norm = freeze_batch_norm
        self.grad_checkpointing = grad_checkpointing
        self.augment = augment
        self.cache = cache
        self.verbose = verbose

    def fit(self, X, y=None):
        """Build the network; nothing is learnt from the patches.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        y : ignored

        Returns
        -------
        TimmFeaturizer
            self.

        Raises
        ------
        ValueError
            If X holds no images, timm does not know the name, the weights do not fit, or
            ``trainable=True``: see there.
        OSError
            If the weights cannot be had; says why and what to do.
        """
        self._refuse_fit_alone()
        return self.build(X)

    @_fit_context(prefer_skip_nested_validation=True)
    def build(self, X):
        """Build the network as `fit` does, whether it is to be trained or not."""
        X = check_images(X)
        resolve_device(self.device)
        check_cache(self.cache)
        with unchanged_on_error(self):
            self._spec = self._or_say_how(
                resolve_backbone,
                checkpoint_path=self.checkpoint_path,
                model_kwargs=self.model_kwargs,
                mean=self.mean,
                std=self.std,
                input_size=self.input_size,
            )
            random = self.checkpoint_path is None and not self.pretrained
            self.seed_ = draw_seed(self.random_state) if random else None
            self._weights = self.weights_hash_ = None
            self.trained_ = False
            model = self._load()
            self.data_config_ = _data_config(model)
            check_pooling(model, self.pooling)
            self._backbone = Backbone(model, self.data_config_, self.pooling)
            self.n_features_out_ = self._width()
            self._choose_precision(X)
            self.patch_shape_ = tuple(X.shape[1:3])
            self.training_patches_ = TrainingPatches.of(X)
        return self

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
            Read batch by batch: all of X is never in memory.

        Returns
        -------
        ndarray of shape (n_spots, n_features_out_), dtype float32

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X holds no images, or of another size or a far other scale than in fit, or the
            weights are no longer those of fit.
        OSError
            If the network has to be built again and its weights cannot be had.
        """
        check_is_fitted(self)
        X = check_images(X, self.patch_shape_)
        self.training_patches_.check_scale(X)
        return features_once(self.cache, self._feature_key(), X, self._compute_features)

    _feature_key = timm_key

    def get_feature_names_out(self, input_features=None):
        """Names of the features: the architecture and a number.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's sake: images have no feature names.

        Returns
        -------
        ndarray of shape (n_features_out_,), dtype object
        """
        check_is_fitted(self)
        names = [f"{self._spec.architecture}_{i}" for i in range(self.n_features_out_)]
        return np.array(names, dtype=object)

    def _compute_features(self, X):
        """Features, (n, n_features_out_) of float32, of all rows of X, which was checked."""
        order = reading_order(X)
        batches = [order[i : i + self.batch_size] for i in range(0, len(X), self.batch_size)]
        read = computed_ahead(lambda rows: np.require(X[rows], requirements="CW"), batches)
        features = np.empty((len(X), self.n_features_out_), dtype=np.float32)
        bar = tqdm(total=len(X), desc="Features", unit="patch", disable=not self.verbose)
        with bar, contextlib.closing(read):
            for rows, patches in zip(batches, read):
                features[rows] = self._compute(patches)
                bar.update(len(rows))
        return features

    def _width(self):
        _, height, width = self.data_config_["input_size"]
        with torch.no_grad():
            features = self._backbone(torch.zeros((1, height, width, 3), dtype=torch.uint8))
        if features.ndim != 2:
            raise InputError(
                f"{self.model_name!r} gives an array of shape {tuple(features.shape[1:])} a patch "
                "where one row of features is needed; choose a pooling, or change model_kwargs."
            )
        return features.shape[1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _data_config(model):
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(model)
    numbers = {key: tuple(config[key]) for key in ("input_size", "mean", "std")}
    return {**numbers, "interpolation": config["interpolation"]}
