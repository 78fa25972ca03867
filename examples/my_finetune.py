"""A fine-tune of your own: a loss in which images with little noise on them weigh more.

Each training image is noised to a random timestep, and the UNet predicts the noise. At early timesteps an image has little noise left, and
what is to be learnt is texture; at late ones it is layout. Here the weight falls from 1 + power (no noise) to 0 (nothing but noise):

    cd examples
    pathsynth finetune study=fast finetune._target_=my_finetune.LowNoise +finetune.power=2

`--cfg job` at the end shows the class with its arguments, and a wrong argument is reported before anything starts. The adapter has an
identity of its own, of which this file is a part: change it, and the same command trains again.
"""

from __future__ import annotations

from torch import Tensor

from pathsynth.training.batches import LatentBatch
from pathsynth.training.lora_module import FinetuneParts, LoraFinetuning


class LowNoise(LoraFinetuning):
    """Weighs the error of an image at timestep t of T by (1 + power) · (1 - t / T) ** power, whose mean over t is 1."""

    def __init__(self, parts: FinetuneParts, power: float = 1.0) -> None:
        # parts: base, adapter, batches, optimizer …: the program gives them, and they are passed on. Every other argument is a key of
        # finetune; one with a default may be left out there.
        super().__init__(parts)
        self.power = power

    def loss(self, batch: LatentBatch) -> Tensor:
        """What a training step minimises: float (). The held-out loss stays the plain one, so that trainings can be compared."""
        weights = (1 + self.power) * (1 - batch.timesteps / self.noise_scheduler.config.num_train_timesteps) ** self.power
        return (weights * self.denoising_errors(batch)).mean()
