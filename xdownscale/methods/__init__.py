"""Downscaling methods, one file each, and the registry that other packages add theirs to.

A method declares what it needs of the records, trains, and returns a sampler. No code outside this
folder asks for a method's name: it asks for a capability (see `Method`).
"""

from __future__ import annotations

import pandas as pd

from xdownscale.core import plugins
from xdownscale.core.plugins import register
from xdownscale.methods.analogues import AnalogueMethod
from xdownscale.methods.asdm import Asdm
from xdownscale.methods.base import Method, Sampler, Trained
from xdownscale.methods.crps import Crps
from xdownscale.methods.dressed import Dressed
from xdownscale.methods.dressed_unet import DressedUNet
from xdownscale.methods.gaussian import GaussianNoise
from xdownscale.methods.kriging import Kriging
from xdownscale.methods.latent_diffusion import LatentDiffusion
from xdownscale.methods.paper_diffusion import PaperDiffusion
from xdownscale.methods.patch_unet import PatchUNet
from xdownscale.methods.residual_diffusion import ResidualDiffusion
from xdownscale.methods.selected import Selected
from xdownscale.methods.unet import UNet
from xdownscale.methods.vae import LITERAL_VAE, VAE
from xdownscale.methods.vdm import VDM

__all__ = ["LITERAL_VAE", "Method", "Sampler", "Trained", "available", "find", "register"]

_STATISTICAL = (Dressed, GaussianNoise, AnalogueMethod, Kriging)
for _method in (
    PaperDiffusion,
    ResidualDiffusion,
    Crps,
    UNet,
    Asdm,
    *_STATISTICAL,
    DressedUNet,
    Selected,
    PatchUNet,
    VAE,
    VDM,
    LatentDiffusion,
):
    register(_method)


def available() -> pd.Series:
    """List the downscaling methods, with a one-line summary of each.

    Returns
    -------
    Series
        Summaries by name; each name can be given to `xdownscale.preset`.

    Examples
    --------
    >>> list(available().index[:4])
    ['diffusion', 'residual', 'crps', 'unet']
    """
    names = plugins.names()
    lines = [plugins.find(name).summary for name in names]
    return pd.Series(lines, index=pd.Index(names, name="method"), name="summary")


def find(name: str) -> Method:
    """Return a method by its name.

    Parameters
    ----------
    name : str
        As `available` lists it.

    Returns
    -------
    Method

    Raises
    ------
    OptionError
        If there is none; names the nearest.

    Examples
    --------
    >>> find("unet").summary
    'Regression of the conditional mean by the field U-Net; no ensemble'
    """
    method: Method = plugins.find(name)
    return method
