"""Networks for whole fields: a regression, a denoiser of its residual, a one-step generator."""
