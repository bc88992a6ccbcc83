"""TimmFeaturizer(trainable=True): a backbone learns with its method, and serves afterwards."""

import io
import random

import joblib
import numpy as np
import pytest
import torch
from processes import forked_jobs
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.modules.batchnorm import _BatchNorm

from histoexpr import (
    GR2ST,
    MclSTExp,
    PatchAugment,
    Reg2ST,
    SpotRetriever,
    STco,
    StInfer,
    TimmFeaturizer,
    Trainer,
)
from histoexpr.data import SpotPatches
from histoexpr.datasets import make_spatial_expression
from histoexpr.metrics import pearson_per_gene, pearson_scorer

METHODS = {
    "STco": STco(),
    "MclSTExp": MclSTExp(n_layers=1, n_heads=2, head_dim=8),
    "GR2ST": GR2ST(n_heads=2, projection_dim=16),
    "StInfer": StInfer(predict_by="regression"),
    "Reg2ST": Reg2ST(hidden_dim=16, n_layers=1, n_heads=2),
}


@pytest.fixture(scope="module")
def cohort():
    return make_spatial_expression(
        3, grid=(7, 7), n_genes=15, mpp=2.0, out_px=32, random_state=0
    )


def backbone(name="test_resnet", **settings):
    # float32, as in training: losses and features are compared to their last digits
    settings = {"trainable": True, "input_size": 32, "precision": "float32", **settings}
    return TimmFeaturizer(name, pretrained=False, **settings)


def stco(featurizer=None, trainer=None, **settings):
    trainer = Trainer(max_epochs=2, lr=1e-3) if trainer is None else trainer
    featurizer = backbone() if featurizer is None else featurizer
    return STco(featurizer, trainer=trainer, **{"random_state": 0, **settings})


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.featurizer_._backbone.parameters()])


def untrained(model, images):
    """The backbone of a method as it was before training."""
    return clone(model.featurizer_).build(images)._backbone


def batch_norms(backbone):
    return [layer for layer in backbone.modules() if isinstance(layer, _BatchNorm)]


def statistics(backbone):
    layers = batch_norms(backbone)
    return torch.cat([torch.cat([m.running_mean, m.running_var]) for m in layers])


def losses(model):
    return [entry["loss"] for entry in model.history_]


# --- it learns ----------------------------------------------------------------------------------


def test_a_trained_backbone_beats_its_frozen_self_on_an_unseen_patient():
    # Stains that differ little: then few epochs do, under any seed. Random weights have no
    # statistics worth keeping.
    images, adata = make_spatial_expression(
        4, grid=(12, 12), n_genes=50, mpp=2.0, out_px=32, stain_shift=0.3, random_state=0
    )
    new = images.patient == "D"
    scores = {}
    for trainable in (False, True):
        for seed in (1, 2):
            model = stco(
                backbone(trainable=trainable, lr_scale=1.0, freeze_batch_norm=False),
                Trainer(max_epochs=6, batch_size=32, lr=1e-3),
                random_state=seed,
            ).fit(images[~new], adata[~new])
            truth = model.expression_.transform(adata[new])
            pcc = np.nanmean(pearson_per_gene(truth, model.predict(images[new])))
            scores.setdefault(trainable, []).append(pcc)
            if trainable:
                assert losses(model)[-1] < 0.5 * losses(model)[1]
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.05, scores


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_it_and_comes_back_from_a_file(name, cohort):
    images, adata = cohort
    model = clone(METHODS[name]).set_params(
        featurizer=backbone(augment=PatchAugment()),
        trainer=Trainer(max_epochs=1, lr=1e-3),
        random_state=0,
    )
    model.fit(images, adata)
    start = torch.cat([p.detach().flatten() for p in untrained(model, images).parameters()])
    assert model.featurizer_.trained_ and not torch.equal(weights(model), start)
    assert not any("backbone" in key for key in model.module_.state_dict())
    predicted = model.predict(images)
    assert predicted.shape == adata.shape and np.isfinite(predicted).all()
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    loaded = joblib.load(file)
    np.testing.assert_array_equal(loaded.predict(images), predicted)
    np.testing.assert_array_equal(
        loaded.featurizer_.transform(images), model.featurizer_.transform(images)
    )


def test_the_index_is_made_of_trained_features(cohort):
    images, adata = cohort
    model = StInfer(
        backbone(), predict_by="regression", trainer=Trainer(max_epochs=2), random_state=0
    ).fit(images, adata)
    distances, neighbors = model.kneighbors(images, n_neighbors=1)
    np.testing.assert_array_equal(neighbors[:, 0], np.arange(len(images)))
    np.testing.assert_allclose(distances, 0, atol=1e-5)


# --- BatchNorm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm(freeze, cohort):
    images, adata = cohort
    model = stco(backbone(freeze_batch_norm=freeze)).fit(images, adata)
    trained = model.featurizer_._backbone
    start = untrained(model, images)
    assert torch.equal(statistics(trained), statistics(start)) == freeze
    scale, first = batch_norms(trained)[0].weight, batch_norms(start)[0].weight
    assert not torch.equal(scale, first)  # scale and shift learn in either case
    after = statistics(trained).clone()
    whole = model.predict(images)
    assert torch.equal(statistics(trained), after)
    assert not any(layer.training for layer in trained.modules())
    np.testing.assert_allclose(model.predict(images[:1]), whole[:1], atol=1e-5)


@pytest.mark.parametrize("method", [STco, MclSTExp])
def test_a_batch_of_one_spot_has_no_statistics_and_is_no_error(method, cohort):
    images, adata = cohort
    keep = np.arange(33)  # a batch of 32 and one of 1
    if method is MclSTExp:  # a section of one spot
        keep = np.concatenate([np.flatnonzero(images.section == "A1"), [len(images) - 1]])
    model = method(
        backbone(freeze_batch_norm=False),
        trainer=Trainer(max_epochs=1, batch_size=32),
        random_state=0,
    ).fit(images[keep], adata[keep])
    assert np.isfinite(model.predict(images[keep])).all()


# --- gradient checkpointing ---------------------------------------------------------------------


@pytest.mark.parametrize("method", [STco, MclSTExp])
def test_grad_checkpointing_gives_the_same(method, cohort):
    images, adata = cohort
    models = [
        method(
            backbone(grad_checkpointing=on, batch_size=5, augment=PatchAugment()),
            trainer=Trainer(max_epochs=2, batch_size=64, lr=1e-3),
            random_state=0,
        ).fit(images, adata)
        for on in (False, True)
    ]
    np.testing.assert_allclose(losses(models[1]), losses(models[0]), rtol=1e-4)
    torch.testing.assert_close(weights(models[1]), weights(models[0]), atol=2e-4, rtol=1e-3)


def test_grad_checkpointing_counts_statistics_once(cohort):
    images, adata = cohort
    one, two = (
        stco(backbone(grad_checkpointing=on, batch_size=128, freeze_batch_norm=False)).fit(
            images, adata
        )
        for on in (False, True)
    )
    states = [m.featurizer_._backbone.state_dict() for m in (one, two)]
    torch.testing.assert_close(states[0], states[1])
    assert losses(one) == pytest.approx(losses(two))


# --- learning rates -----------------------------------------------------------------------------


def test_differential_learning_rates(cohort):
    # The first step of Adam is the learning rate, whatever the gradient.
    images, adata = cohort
    trainer = Trainer(max_epochs=1, batch_size=1000, lr=1e-3, weight_decay=0.0)
    model = stco(backbone(lr_scale=0.01), trainer).fit(images, adata)
    start = torch.cat([p.detach().flatten() for p in untrained(model, images).parameters()])
    step = (weights(model) - start).abs().max().item()
    assert step == pytest.approx(1e-5, rel=0.01)
    assert model.history_[0]["lr"] == 1e-3
    faster = stco(backbone(lr_scale=1.0), trainer).fit(images, adata)
    assert (weights(faster) - start).abs().max().item() == pytest.approx(1e-3, rel=0.01)


# --- augmentation -------------------------------------------------------------------------------


class Witness:
    """Notes the batches it is given, and changes nothing."""

    seen = []

    def __call__(self, images):
        self.seen.append((tuple(images.shape), images.dtype))
        return images


def test_augmentation_is_for_training_batches_alone(cohort):
    images, adata = cohort
    Witness.seen.clear()
    trainer = Trainer(max_epochs=2, batch_size=1000, lr=1e-3, early_stopping=True)
    model = stco(backbone(augment=Witness()), trainer).fit(images, adata)
    held = np.isin(adata.obs["patient"], model.trainer_.validation_groups_)
    assert Witness.seen == 2 * [((int(np.sum(~held)), 3, 32, 32), torch.uint8)]
    model.predict(images)
    assert len(Witness.seen) == 2
    plain = stco(trainer=trainer).fit(images, adata)
    assert losses(plain) == losses(model)
    jittered = stco(backbone(augment=PatchAugment()), trainer).fit(images, adata)
    assert losses(jittered) != losses(plain)


def to_unit_range(images):
    return images / 255


def test_augmentation_must_keep_the_kind_of_images(cohort):
    with pytest.raises(ValueError, match="must return images like those it is given.*float32"):
        stco(backbone(augment=to_unit_range)).fit(*cohort)


# --- seeds, laziness, other people's things ----------------------------------------------------


def test_the_same_seed_gives_the_same_to_the_bit_and_leaves_the_rest_alone(cohort):
    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    images, adata = cohort
    users = backbone(augment=PatchAugment())
    before = state(), repr(users.get_params()), set(vars(users)), np.asarray(images)
    first, again = (stco(users).fit(images, adata) for _ in range(2))
    other = stco(users, random_state=1).fit(images, adata)
    np.testing.assert_array_equal(first.predict(images), again.predict(images))
    assert first.featurizer_.weights_hash_ == again.featurizer_.weights_hash_
    assert other.featurizer_.weights_hash_ != first.featurizer_.weights_hash_
    assert (state(), repr(users.get_params()), set(vars(users))) == before[:3]
    np.testing.assert_array_equal(np.asarray(images), before[3])
    from_array = stco(users).fit(np.asarray(images), adata)
    np.testing.assert_array_equal(from_array.predict(images), first.predict(images))


def test_patches_are_read_batch_by_batch(cohort, monkeypatch):
    images, adata = cohort
    read = []
    inner = SpotPatches._read
    monkeypatch.setattr(
        SpotPatches, "_read", lambda self, rows: read.append(len(rows)) or inner(self, rows)
    )
    stco(backbone(batch_size=8), Trainer(max_epochs=2, batch_size=16)).fit(images, adata)
    colours = 3 * 16  # measured on 16 patches of each section
    assert max(read) == 16
    assert sum(read) == colours + 2 * len(images)  # two epochs; the index needs none


def test_a_fit_that_fails_changes_nothing(cohort):
    images, adata = cohort
    model = stco().fit(images, adata)
    predicted, hashed = model.predict(images), model.featurizer_.weights_hash_
    model.set_params(featurizer__augment=to_unit_range)
    with pytest.raises(ValueError, match="must return images"):
        model.fit(images, adata)
    np.testing.assert_array_equal(model.predict(images), predicted)
    assert model.featurizer_.weights_hash_ == hashed


def test_cross_validation_with_two_jobs(cohort):
    images, adata = cohort
    given = dict(groups=adata.obs["patient"], cv=LeaveOneGroupOut(), scoring=pearson_scorer)
    model = stco(retriever=SpotRetriever(20))
    with forked_jobs():
        two = cross_val_score(model, images, adata, n_jobs=2, **given)
    assert np.isfinite(two).all() and len(two) == 3


# --- early stopping and checkpoints ------------------------------------------------------------


def test_early_stopping_keeps_the_best_backbone(cohort):
    images, adata = cohort
    trainer = Trainer(
        max_epochs=12, batch_size=1000, lr=0.02, early_stopping=True, patience=2
    )
    model = StInfer(
        backbone(lr_scale=1.0, freeze_batch_norm=False),
        predict_by="regression", trainer=trainer, random_state=0,
    ).fit(images, adata)  # fmt: skip
    found = [entry["validation_loss"] for entry in model.history_]
    assert model.trainer_.best_epoch_ == int(np.argmin(found)) < len(found) - 1
    held = np.isin(adata.obs["patient"], model.trainer_.validation_groups_)
    truth = model.expression_.transform(adata[held])
    mse = np.mean((truth - model.predict(images[held])) ** 2)
    assert mse == pytest.approx(min(found), rel=1e-4)


class Stop(Exception):
    """Stands for the kill of a run."""


def test_a_stopped_run_goes_on_with_its_backbone(cohort, tmp_path, monkeypatch):
    images, adata = cohort
    augmented = backbone(augment=PatchAugment())
    whole = stco(augmented, Trainer(max_epochs=4, lr=1e-3)).fit(images, adata)
    trainer = Trainer(max_epochs=4, lr=1e-3, checkpoint_dir=tmp_path)
    inner = Trainer._epoch

    def dying(self, run, *args):
        if len(run.history) == 2:
            raise Stop
        inner(self, run, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", dying)
        with pytest.raises(Stop):
            stco(augmented, trainer).fit(images, adata)
    read = []
    patches = SpotPatches._read
    monkeypatch.setattr(
        SpotPatches, "_read", lambda self, rows: read.append(len(rows)) or patches(self, rows)
    )
    resumed = stco(augmented, trainer).fit(images, adata)
    assert sum(read) == 3 * 16 + 2 * len(images)  # colours, and the two epochs that were left
    assert torch.equal(weights(resumed), weights(whole))
    np.testing.assert_array_equal(resumed.predict(images), whole.predict(images))
    assert len(list(tmp_path.iterdir())) == 1

    quick = clone(trainer).set_params(max_epochs=1)
    for other in (
        augmented,
        backbone(augment=PatchAugment(rotate=0)),
        backbone(lr_scale=0.2),
        backbone(freeze_batch_norm=False),
        backbone(mean=0.0),
    ):
        stco(other, quick).fit(images, adata)
    stco(backbone(), quick).fit(255 - np.asarray(images), adata)
    stco(backbone(), quick).fit(images, adata)
    assert len(list(tmp_path.iterdir())) == 8


# --- after the fit ------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
def test_trained_weights_are_in_every_pickle(stored, cohort):
    images, adata = cohort
    trained = stco(backbone(store_weights_in_pickle=stored)).fit(images, adata).featurizer_
    features = trained.transform(images)
    frozen = clone(trained).set_params(trainable=False).fit(images)
    assert frozen.weights_hash_ != trained.weights_hash_
    assert not np.allclose(frozen.transform(images), features)
    for _ in range(2):  # a pickle of a pickle, too
        file = io.BytesIO()
        joblib.dump(trained, file)
        file.seek(0)
        trained = joblib.load(file)
    file.seek(0)
    joblib.dump(trained, file)  # not used in between
    np.testing.assert_array_equal(trained.transform(images), features)


def test_a_trained_backbone_serves_in_a_pipeline(cohort):
    images, adata = cohort
    trained = stco().fit(images, adata).featurizer_
    scaled = make_pipeline(FrozenEstimator(trained), StandardScaler()).fit_transform(images)
    assert scaled.shape == (len(images), trained.n_features_out_)


@pytest.mark.parametrize(
    "refused",
    [
        backbone(),
        make_pipeline(backbone(), StandardScaler(), STco(None)),
        STco(make_pipeline(backbone(), StandardScaler())),
    ],
)
def test_alone_it_has_nothing_to_learn_from(refused, cohort):
    with pytest.raises(ValueError, match="trained by the loss of a method. Pass this very object"):
        refused.fit(*cohort)


def test_a_method_without_a_loss_cannot_train_it(cohort):
    with pytest.raises(ValueError, match="searches in the space of the features .* no loss"):
        StInfer(backbone()).fit(*cohort)


def test_settings_are_checked(cohort):
    for wrong in ({"lr_scale": 0.0}, {"augment": "flip"}, {"freeze_batch_norm": 2}):
        with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter"):
            stco(backbone(**wrong)).fit(*cohort)
