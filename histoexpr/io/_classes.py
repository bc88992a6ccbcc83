"""The closed list of classes and functions that a model file may name."""

import importlib
from functools import lru_cache

from ..exceptions import InputError

# Classes whose state is made of plain values, arrays, tensors and each other, and whose methods
# run nothing that such a state could choose: no class here calls, imports or opens what it holds.
_CLASSES = {
    "histoexpr.calibration": "ConformalIntervals SpreadModel",
    "histoexpr.featurizers": "ContextFeaturizer NeighborFeatures TextureFeaturizer TimmFeaturizer "
    "TrainingPatches",
    "histoexpr.featurizers._resolve": "BackboneSpec",
    "histoexpr.methods": "ContrastiveEnsemble ExpressionTargetRegressor GR2ST LinearProbe MclSTExp "
    "Reg2ST STco StInfer",
    "histoexpr.methods._combination": "Combination",
    "histoexpr.methods._members": "LinearHead Members",
    "histoexpr.nn": "Attention CellTypeEmbedding DualEncoder DynamicGraph FeatureSpace "
    "GraphAttention GraphSpotEncoder PositionEmbedding ProjectionHead Reg2STModule RegressionHead "
    "SpotEncoder Transformer TransformerBlock ZINBHead",
    "histoexpr.preprocessing": "ExpressionTransformer PatchAugment SectionCenterer "
    "StainNormalizer",
    "histoexpr.preprocessing._stain": "_StainMap",
    "histoexpr.retrieval": "SpotRetriever",
    "histoexpr.training": "Trainer",
    "sklearn.cluster": "KMeans MiniBatchKMeans",
    "sklearn.compose": "ColumnTransformer TransformedTargetRegressor",
    "sklearn.cross_decomposition": "CCA PLSCanonical PLSRegression",
    "sklearn.decomposition": "PCA FactorAnalysis FastICA IncrementalPCA KernelPCA NMF SparsePCA "
    "TruncatedSVD",
    "sklearn.dummy": "DummyRegressor",
    "sklearn.feature_selection": "SelectKBest SelectPercentile VarianceThreshold",
    "sklearn.frozen": "FrozenEstimator",
    "sklearn.impute": "SimpleImputer",
    "sklearn.kernel_approximation": "Nystroem RBFSampler",
    "sklearn.kernel_ridge": "KernelRidge",
    "sklearn.linear_model": "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor "
    "Lars Lasso LassoCV LassoLars LinearRegression MultiTaskElasticNet MultiTaskElasticNetCV "
    "MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit Ridge RidgeCV",
    "sklearn.metrics._scorer": "_Scorer",
    "sklearn.mixture": "BayesianGaussianMixture GaussianMixture",
    "sklearn.multioutput": "MultiOutputRegressor RegressorChain",
    "sklearn.neighbors": "KNeighborsRegressor NearestNeighbors",
    "sklearn.pipeline": "FeatureUnion Pipeline",
    "sklearn.preprocessing": "MaxAbsScaler MinMaxScaler Normalizer PolynomialFeatures "
    "PowerTransformer QuantileTransformer RobustScaler StandardScaler",
    "sklearn.preprocessing._data": "KernelCenterer",  # in KernelPCA
    "sklearn.random_projection": "GaussianRandomProjection SparseRandomProjection",
    "torch.nn": "AdaptiveAvgPool1d AdaptiveAvgPool2d AvgPool1d AvgPool2d BatchNorm1d BatchNorm2d "
    "Conv1d Conv2d Dropout Dropout1d Dropout2d ELU Embedding Flatten GELU GroupNorm Hardswish "
    "Identity LayerNorm LeakyReLU Linear LogSoftmax MaxPool1d MaxPool2d Mish ModuleDict ModuleList "
    "MultiheadAttention ReLU Sequential SiLU Sigmoid Softmax Softplus Tanh Unflatten",
    "torch.nn.modules.linear": "NonDynamicallyQuantizableLinear",
}

_FUNCTIONS = {
    "histoexpr.methods._linear_probe": "_held_out_pcc",
    "sklearn.feature_selection": "f_regression mutual_info_regression r_regression",
}

# Their classes are known or they are not; a user cannot vouch for what lies behind them in C.
_CLOSED = {"sklearn", "torch", "histoexpr"}


@lru_cache(maxsize=None)
def listed_name(thing):
    """The name under which a file knows a class or a function; None for what is not listed."""
    package = thing.__module__.partition(".")[0]
    for module, names in (*_CLASSES.items(), *_FUNCTIONS.items()):
        if module.partition(".")[0] == package and thing.__name__ in names.split():
            if getattr(importlib.import_module(module), thing.__name__, None) is thing:
                return f"{module}.{thing.__name__}"
    return None


def own_name(cls):
    """The name of a class that is not listed: a user's own, of which a reader must say so."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_closed(cls):
    """Whether a class is of a package in which only what is listed can be written."""
    return cls.__module__.partition(".")[0] in _CLOSED


def find_function(name):
    """The listed function of that name."""
    return _find(name, _FUNCTIONS, "function")


class Known:
    """The classes that a reader accepts: the list, and those that a user vouches for.

    Parameters
    ----------
    trusted : iterable of type
    """

    def __init__(self, trusted=()):
        self._trusted = {own_name(cls): cls for cls in trusted}

    def find(self, name):
        """The class of that name; ValueError for one that is neither listed nor trusted."""
        if isinstance(name, str) and name in self._trusted:
            return self._trusted[name]
        return _find(name, _CLASSES, "class")

    def trusts(self, cls):
        """Whether the user vouches for what a class does with its state."""
        return cls in self._trusted.values()


def _find(name, listed, what):
    module, _, attribute = str(name).rpartition(".")
    if not isinstance(name, str) or attribute not in listed.get(module, "").split():
        raise InputError(
            f"it names the {what} {str(name)[:100]!r}, which is not among those that a model file "
            "may name, and was not loaded"
            + (
                ". If it is your own, or of someone you trust, pass the class: "
                "load(path, trusted=[...])."
                if what == "class"
                else "."
            )
        )
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise InputError(
            f"it needs the {what} {name!r}, which the installed version of "
            f"{module.partition('.')[0]!r} does not have; the file says which versions wrote it."
        )
    return found
