"""Diffusion: an EDM denoiser of images, trained on all noise levels at once."""
