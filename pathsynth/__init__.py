"""Text prompts to histology images: a LoRA-tuned diffusion model, a gate that discards and asks again, and a judge."""

__version__ = "0.1.0"
