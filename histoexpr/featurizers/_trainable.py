"""How a method trains the network of its featurizer."""

from ..exceptions import InputError
from ..nn import EndToEnd
from ._weights import hash_state


class TrainableMixin:
    """For a featurizer with a `Backbone` and the parameters of TimmFeaturizer."""

    def end_to_end(self, module):
        """The network and a method's module as one, to be trained; call `end_training` after it.

        Parameters
        ----------
        module : Module
            Called with a SpotBatch, it returns a LossOutput.

        Returns
        -------
        histoexpr.nn.EndToEnd
            Its batches hold images. The network in it is the one of this object.

        Raises
        ------
        ValueError
            If the module has nothing to learn, and so no loss.
        """
        if not any(True for _ in module.parameters()):
            raise InputError(
                "trainable=True, but the method searches in the space of the features as they "
                "are: it has no loss to train a network by. Use trainable=False, or a method "
                "that learns (StInfer: predict_by='regression')."
            )
        return EndToEnd(
            self._backbone,
            module,
            lr_scale=self.lr_scale,
            freeze_batch_norm=self.freeze_batch_norm,
            augment=self.augment,
            grad_checkpointing=self.grad_checkpointing,
            chunk_size=self.batch_size,
        )

    def end_training(self):
        """Take note that the network was trained, and choose its precision again."""
        self.trained_ = True
        self.weights_hash_ = hash_state(self._backbone.model.state_dict())
        self._choose_precision(self._seen)

    def _refuse_fit_alone(self):
        if self.trainable:
            raise InputError(
                "trainable=True: a network is trained by the loss of a method. Pass this very "
                "object as featurizer= of the method, e.g. STco(TimmFeaturizer(trainable=True)); "
                "alone, as a step of a Pipeline or within featurizer=make_pipeline(...) it can "
                "only be frozen (trainable=False). Steps that change images, such as "
                "StainNormalizer, can stand before the method."
            )
