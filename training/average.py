"""The moving average of a network's weights and batch-norm statistics: it swings less than the weights do."""

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.checkpoint import load_weights


class Average:
    """After each step: average = decay * average + (1 - decay) * weights; it begins as the first step's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._averaged.module

    def update(self, network: nn.Module) -> None:
        """Take in the weights of a step."""
        self._averaged.update_parameters(network)

    def state(self) -> dict[str, Any]:
        """What `load` needs: the weights with the published prefix, and how many steps they average."""
        weights = {f"module.{name}": value for name, value in self.network.state_dict().items()}
        return {"state_dict": weights, "averaged": int(self._averaged.n_averaged)}

    def load(self, content: dict[str, Any], source: str) -> None:
        """Go on from `state`. Raises CheckpointError if the weights do not fit, KeyError if something is missing."""
        load_weights(self.network, content["state_dict"], source)
        self._averaged.n_averaged.fill_(content["averaged"])
