"""What a step of our fine-tune costs beside the bare step and beside the loops of other trainers.

    python -m benchmarks.lora_training --out FILE.json [--turns 60] [OVERRIDE …]

Overrides are those of ``pathsynth finetune``: ``trainer.precision=bf16-mixed training.batch_size=8``, or at the size of Stable
Diffusion ``base=local base.path=FOLDER base.canvas=512 data=folder data.root=FOLDER data.size=512``. Four ways of training the
same adapter are followed in one process, turn by turn, each on a base of its own:

- ``ours``: ``finetune`` as a trial runs it, with its checkpoints; the time from where the others ended to the end of
  Lightning's batch, so that it holds the loop, the making of the batch, clipping, the schedule and EMA.
- ``bare``: forward, backward and optimizer step of the UNet on a batch that lies ready: the limit.
- ``peer_uncached``: the usual loop, in which each step loads and flips images and runs autoencoder and text encoder.
- ``peer_cached``: a plain loop over latents and prompt embeddings that were computed before.

``vs_…``: images a second, ours over theirs: the median of the turns' ratios with SciPy's 95% bootstrap interval. ``peak_memory``:
bytes of a process that takes ten steps of one way alone (on a GPU: allocated there; else resident). ``checkpoint``: bytes of one of
ours beside those of the base's weights. ``matmul_share``: what the bare step's products, counted by torch, reach of the rate of
one large product.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from PIL import Image
from scipy.stats import bootstrap
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from benchmarks.machine import machine, summary
from benchmarks.repeated import in_turns
from benchmarks.requests import checked_request
from pathsynth.config import RunConfig
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet
from pathsynth.models.base import Base, load_base
from pathsynth.models.lora import attach
from pathsynth.studies.planning.request_check import Checked
from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, design, fast_attention, finetune
from pathsynth.training.latent_cache import LatentCache, build_cache, load_cache
from pathsynth.training.optimizer import build_optimizer

OURS, BARE, UNCACHED, CACHED = "ours", "bare", "peer_uncached", "peer_cached"
_WARM_UP = 5
_RATIOS = {"vs_bare_step": BARE, "vs_peer_uncached": UNCACHED, "vs_peer_cached": CACHED}

Step = Callable[[], object]


def main() -> None:
    """Read the command line, time each way, write the figures to ``--out`` and print them."""
    in_turns(__doc__, measure, turns=60)


def measure(turns: int, overrides: Sequence[str]) -> dict[str, object]:
    """All figures, as they go into the file."""
    request = finetune_request(overrides, turns + _WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        build_cache(cache, _data(request), loaded_base(request), augment=True)
        seconds, checkpoint = _turn_by_turn(request, cache)
        memory = {way: _alone(_peak_memory, way, overrides, cache) for way in (OURS, BARE, UNCACHED, CACHED)}
    seconds = {way: times[_WARM_UP:] for way, times in seconds.items()}
    config = request.config
    return {
        "machine": machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "overrides": list(overrides),
        "batch_size": config.training.batch_size,
        "precision": config.trainer.precision,
        "seconds": {way: summary(times) for way, times in seconds.items()},
        "images_per_second": {way: round(config.training.batch_size / statistics.median(times), 2) for way, times in seconds.items()},
        **{name: ratio(seconds[way], seconds[OURS]) for name, way in _RATIOS.items()},
        "peak_memory": memory,
        "checkpoint": checkpoint,
        "matmul_share": _matmul_share(request, seconds=statistics.median(seconds[BARE])),
    }


def finetune_request(overrides: Sequence[str], steps: int) -> Checked:
    """A checked fine-tune of so many steps, without validation and tracking."""
    words = ["callbacks.regeneration.every=0", "tracking=none", f"trainer.max_steps={steps}", *overrides]
    return checked_request("finetune", words)


def loaded_base(request: Checked) -> Base:
    """The base of a request, loaded anew."""
    source = request.plan.base
    assert source and request.config.base and request.config.data
    return load_base(source.path_or_hub, source.revision, source.identity, request.config.base.canvas, request.config.data.size)


def _data(request: Checked) -> DataSet:
    assert request.config.data
    return open_data(request.config.data)


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, object]:
    """How many times as many images a second we train: each turn's time of theirs over that of ours."""
    ratios = np.asarray(theirs) / np.asarray(ours)
    interval = bootstrap((ratios,), np.median, rng=0).confidence_interval
    return {"median": round(float(np.median(ratios)), 3), "interval": [round(float(b), 3) for b in interval], "turns": len(ratios)}


class _Turns(pl.Callback):
    """Lets every other way take a step after each of ours, and keeps the times of all."""

    def __init__(self, others: dict[str, Step]) -> None:
        self._others = others
        self.seconds: dict[str, list[float]] = {way: [] for way in (OURS, *others)}
        self._since: float | None = None

    def on_train_start(self, *_: Any) -> None:
        self._since = now()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        assert self._since is not None
        self.seconds[OURS].append(now() - self._since)
        order = list(self._others)
        first = trainer.global_step % max(1, len(order))
        for way in (*order[first:], *order[:first]):
            started = now()
            self._others[way]()
            self.seconds[way].append(now() - started)
        self._since = now()


def _turn_by_turn(request: Checked, cache: Path) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each way's steps, and the bytes of our last checkpoint beside those of the base's weights."""
    turns = _Turns({way: _steps(way, request, cache) for way in (BARE, UNCACHED, CACHED)})
    with tempfile.TemporaryDirectory() as folder:
        base = _fine_tune(request, cache, Path(folder), turns)
        checkpoints = sorted(Path(folder).glob("work/step-*.ckpt"))
        ours = checkpoints[-1].stat().st_size if checkpoints else 0
    parts = (base.unet, base.pipeline.vae, base.text_encoder)
    return turns.seconds, {"ours": ours, "base": sum(p.numel() * p.element_size() for part in parts for p in part.parameters())}


def _fine_tune(request: Checked, cache: Path, folder: Path, *callbacks: pl.Callback) -> Base:
    base, data = loaded_base(request), _data(request)
    job = FinetuneJob(base, load_cache(cache, data, base), data, _no_gate, FinetuneSettings.of(request.config))
    finetune(job, folder, folder / "work", list(callbacks), ())
    return base


def _no_gate(*_: Any) -> Any:
    raise AssertionError("validation is off")


def _steps(way: str, request: Checked, cache: Path) -> Step:
    """One more step of a loop that is not ours, on a base of its own."""
    base, config = loaded_base(request), request.config
    assert config.lora
    data = _data(request)
    if way == BARE and config.training.channels_last:  # the limit is that of our layout; the peers keep theirs
        base.unet.to(memory_format=torch.channels_last)
    if config.training.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    loops = {BARE: _bare, CACHED: _cached, UNCACHED: _uncached}
    loop = loops[way](Peer(base, config), load_cache(cache, data, base), data)
    return lambda: next(loop)


class Peer:
    """What the other loops share: an adapter, its optimizer and the step that ends each turn."""

    def __init__(self, base: Base, config: RunConfig) -> None:
        assert config.lora
        self.base, self.config, self.device = base, config, base.unet.device
        self.batch_size = config.training.batch_size
        self.parameters: list[nn.Parameter] = attach(base, design(config.lora), seed=0)
        self.optimizer = build_optimizer(config.optimizer, {"adapter": self.parameters})
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, config.training.warmup_steps, config.trainer.max_steps)
        self.unet = torch.compile(base.unet) if config.training.compile else base.unet

    def learn(self, noisy: Tensor, times: Tensor, text: Tensor, target: Tensor, whole: bool = True) -> None:
        """Forward, backward and optimizer step; clipping and schedule, too, where it is ``whole``."""
        with torch.autocast(self.device.type, _AUTOCAST.get(self.config.trainer.precision), enabled=self._mixed):
            loss = mse_loss(self.unet(noisy, times, text, return_dict=False)[0].float(), target.float())
        loss.backward()
        if whole:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.trainer.gradient_clip_val or 1.0)
        self.optimizer.step()
        if whole:
            self.schedule.step()
        self.optimizer.zero_grad()

    def noised(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, timesteps and the target of the base's kind of prediction."""
        scheduler = self.base.scheduler
        noise = torch.randn_like(latents)
        times = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
        velocity = scheduler.config.prediction_type == "v_prediction"
        return scheduler.add_noise(latents, noise, times), times, scheduler.get_velocity(latents, noise, times) if velocity else noise

    @property
    def _mixed(self) -> bool:
        return self.config.trainer.precision in _AUTOCAST


_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def _bare(peer: Peer, cache: LatentCache, data: DataSet) -> Iterator[None]:
    latents = cache.latents[: peer.batch_size, 0].float().to(peer.device)
    text = cache.embeddings[torch.ones(len(latents), dtype=torch.int64)].to(peer.device)
    noisy, times, target = peer.noised(latents)
    while True:
        with fast_attention(peer.base, peer.config.trainer.precision):  # the limit is that of our attention
            peer.learn(noisy, times, text, target, whole=False)
        yield


def _cached(peer: Peer, cache: LatentCache, data: DataSet) -> Iterator[None]:
    rows = torch.tensor([captions[0] for captions in cache.captions])[cache.labels]
    loader = DataLoader(TensorDataset(cache.latents[:, 0], rows), peer.batch_size, shuffle=True, drop_last=True)
    for latents, captions in _endless(loader):
        noisy, times, target = peer.noised(latents.float().to(peer.device))
        peer.learn(noisy, times, cache.embeddings[captions].to(peer.device), target)
        yield


def _uncached(peer: Peer, cache: LatentCache, data: DataSet) -> Iterator[None]:
    loader = DataLoader(_Pictures(data, peer.base), peer.batch_size, shuffle=True, drop_last=True)
    for pixels, tokens in _endless(loader):
        with torch.no_grad():
            latents = peer.base.encode(pixels.to(peer.device))
            text = peer.base.text_encoder(tokens.to(peer.device), return_dict=False)[0]
        noisy, times, target = peer.noised(latents)
        peer.learn(noisy, times, text, target)
        yield


class _Pictures(Dataset):
    """Images at the base's size in [0, 1], flipped by chance, each with the tokens of its class's prompt."""

    def __init__(self, data: DataSet, base: Base) -> None:
        train = data.split("train")
        prompts = [data.prompts.canonical(c.index) for c in data.space.classes]
        tokenizer = base.pipeline.tokenizer
        self._tokens = tokenizer(prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
        self._images, self._labels = train.images, train.labels
        flips = (v2.RandomHorizontalFlip(), v2.RandomVerticalFlip())
        tensor = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))
        self._transform = v2.Compose([v2.Resize(base.canvas), v2.CenterCrop(base.canvas), *flips, *tensor])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._transform(Image.fromarray(self._images[index])), self._tokens.input_ids[self._labels[index]]


def _endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    return itertools.chain.from_iterable(itertools.repeat(loader))


def _alone(function: Callable[..., int], *arguments: Any) -> int:
    """What a function gives in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _peak_memory(way: str, overrides: Sequence[str], cache: Path) -> int:
    request = finetune_request(overrides, 10)
    if way == OURS:
        with tempfile.TemporaryDirectory() as folder:
            _fine_tune(request, cache, Path(folder))
    else:
        step = _steps(way, request, cache)
        for _ in range(10):
            step()
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    high_water = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(high_water.split()[1]) * 1024


def _matmul_share(request: Checked, seconds: float) -> dict[str, float]:
    """Operations of a bare step over its seconds, as a share of the rate of one large product at the same precision."""
    base, config = loaded_base(request), request.config
    peer = Peer(base, config)
    latents = torch.randn(peer.batch_size, *base.latent_shape, device=peer.device)
    text = base.embed([""] * peer.batch_size)
    noisy, times, target = peer.noised(latents)
    with FlopCounterMode(display=False) as counted:
        peer.learn(noisy, times, text, target, whole=False)
    done = counted.get_total_flops() / seconds
    peak = _matmul_rate(peer.device, _AUTOCAST.get(config.trainer.precision, torch.float32))
    return {"step": round(done / 1e9, 1), "peak": round(peak / 1e9, 1), "share": round(done / peak, 3)}


def _matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a square product, the best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = now()
        one @ other
        best = min(best, now() - started)
    return 2 * side**3 / best


def now() -> float:
    """Seconds of a clock, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
