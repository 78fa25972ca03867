"""The rejection sampler: slots and attempts, denoising, acceptance by the gate, retries, and the set of images that comes of it."""
