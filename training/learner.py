"""What training steps change and checkpoints hold: weights, their moving average, the optimizer's state."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.errors import CheckpointError
from training.checkpoint import load_weights, read_checkpoint
from training.config import TrainingConfig


class Learner:
    """A network in training, its optimizer, the moving average of its weights if the config asks for one, best loss.

    After each step: average = decay * average + (1 - decay) * weights, batch-norm statistics included. The average
    begins as the weights of the first step, and swings less than the weights do.
    """

    def __init__(self, config: TrainingConfig, model: DistributedDataParallel, optimizer: Optimizer) -> None:
        self.arch, self.model, self.optimizer = config.arch, model, optimizer
        self.average: AveragedModel | None = None
        if config.average:
            average = get_ema_multi_avg_fn(config.average)
            self.average = AveragedModel(model.module, multi_avg_fn=average, use_buffers=True)
        self.best_loss = math.inf  # the lowest balanced log loss of the first validation set

    @property
    def network(self) -> nn.Module:
        """The network that is validated, and saved as `state_dict`: the average, or else the one in training."""
        network: nn.Module = self.model.module if self.average is None else self.average.module
        return network

    def checkpoint(self, step: int) -> dict[str, Any]:
        """The content of the checkpoint after a step.

        With a moving average, `state_dict` holds the average, `trained` the weights in training, and `averaged` the
        number of steps in the average.
        """
        content = {
            "step": step,
            "arch": self.arch,
            "state_dict": self.model.state_dict(),
            "best_loss": self.best_loss,
            "optimizer": self.optimizer.state_dict(),
        }
        if self.average is not None:
            weights = self.average.state_dict()
            averaged = int(weights.pop("n_averaged"))
            content |= {"trained": content["state_dict"], "state_dict": weights, "averaged": averaged}
        return content

    def load(self, path: Path) -> Exception | None:
        """Take over a checkpoint's weights, optimizer state and best loss; return what is wrong with it, or None.

        The optimizer keeps its own settings (momentum and so on), which are the config's.
        """
        try:
            content = read_checkpoint(path)
            if self.average is not None:
                load_weights(self.average.module, content["state_dict"], str(path))
                self.average.n_averaged.fill_(content["averaged"])
            trained = "state_dict" if self.average is None else "trained"
            load_weights(self.model.module, content[trained], str(path))
            self.optimizer.load_state_dict(with_settings_of(self.optimizer, content["optimizer"]))
            self.best_loss = content["best_loss"]
        except (CheckpointError, KeyError, ValueError) as error:
            return error
        # A loaded momentum may have another memory layout than its parameter, and fused optimizers do not check that.
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)
        return None


def with_settings_of(optimizer: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved optimizer state with this optimizer's settings.

    Raises ValueError if it belongs to other parameters.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in groups]:
        raise ValueError("the optimizer's state belongs to other parameters")
    return saved | {"param_groups": groups}
