"""The diffusion core against its formulas."""

from __future__ import annotations

from types import SimpleNamespace

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler

from pathsynth.models.diffusion import denoising_loss, min_snr_weights, training_scheduler
from pathsynth.pretraining.tiny_base import tiny_scheduler


class Oracle(torch.nn.Module):
    """Predicts the right answer plus a constant error."""

    def __init__(self, answer: torch.Tensor, error: float) -> None:
        super().__init__()
        self.answer, self.error = answer, error

    def forward(self, noisy, timesteps, text):
        return SimpleNamespace(sample=self.answer + self.error)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 2, 4, 4, generator=generator) for _ in range(2))
    return latents, torch.zeros(3, 1, 1), noise, torch.tensor([0, 500, 999])


def test_epsilon_target_is_the_noise(batch):
    latents, text, noise, timesteps = batch
    loss = denoising_loss(Oracle(noise, 0.5), DDPMScheduler(), latents, text, noise, timesteps)
    assert torch.allclose(loss, torch.full((3,), 0.25))


def test_velocity_target_is_the_rotated_pair(batch):
    latents, text, noise, timesteps = batch
    scheduler = tiny_scheduler()
    alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    loss = denoising_loss(Oracle(velocity, 0.0), scheduler, latents, text, noise, timesteps)
    assert loss.max() < 1e-10


def test_last_timestep_of_the_embedded_schedule_is_pure_noise():
    assert float(tiny_scheduler().alphas_cumprod[-1]) < 1e-6


def test_min_snr_weights_follow_the_paper():
    scheduler = DDPMScheduler()
    timesteps = torch.tensor([10, 900])
    alpha = scheduler.alphas_cumprod[timesteps]
    snr = alpha / (1 - alpha)
    capped = torch.minimum(snr, torch.tensor(5.0))
    assert torch.allclose(min_snr_weights(scheduler, timesteps, 5.0, "epsilon"), capped / snr)
    assert torch.allclose(min_snr_weights(scheduler, timesteps, 5.0, "v_prediction"), capped / (snr + 1))


def test_min_snr_changes_the_loss(batch):
    latents, text, noise, timesteps = batch
    plain, weighted = (denoising_loss(Oracle(noise, 0.5), DDPMScheduler(), latents, text, noise, timesteps, g) for g in (None, 5.0))
    assert weighted[0] < plain[0]


def test_other_prediction_types_are_refused(batch):
    latents, text, noise, timesteps = batch
    with pytest.raises(ValueError, match="sample is not supported"):
        denoising_loss(Oracle(noise, 0), DDPMScheduler(prediction_type="sample"), latents, text, noise, timesteps)


@pytest.mark.parametrize("kind", [f"{name}Scheduler" for name in ("DDIM", "EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "PNDM")])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_base_is_trained_alike_whatever_samples_it(kind, prediction):
    """Euler and its kin would add noise to latents that they do not scale, and PNDM gives no velocity."""
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = torch.tensor([0, 500, 999])
    own = getattr(diffusers, kind)(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction)
    scheduler = training_scheduler(own)
    kept = (own.alphas_cumprod[timesteps] ** 0.5)[:, None, None, None]
    lost = ((1 - own.alphas_cumprod[timesteps]) ** 0.5)[:, None, None, None]
    assert torch.allclose(scheduler.add_noise(latents, noise, timesteps), kept * latents + lost * noise, atol=1e-6)
    assert torch.allclose(scheduler.get_velocity(latents, noise, timesteps), kept * noise - lost * latents, atol=1e-6)
    assert scheduler.config.prediction_type == prediction


def test_the_embedded_base_is_trained_on_its_own_noise_schedule():
    own, scheduler = tiny_scheduler(), training_scheduler(tiny_scheduler())
    assert float(own.alphas_cumprod[-1]) == 0.0, "nothing of the latent is left at the last step"
    assert torch.equal(own.alphas_cumprod, scheduler.alphas_cumprod)
