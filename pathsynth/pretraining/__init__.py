"""How the embedded base was made: captions, natural images, its text encoder, autoencoder and denoiser. Only its pretraining needs this."""
