"""What a field U-Net model computes, as one module of tensors: for export to other runtimes."""

from __future__ import annotations

from torch import Tensor, nn, zeros_like

from xdownscale.models.networks.field_unet import FieldNetworks, Inputs, coarse_features


class ConditionalMean(nn.Module):
    """The mean of the regressions, added to what they correct.

    Parameters
    ----------
    networks : FieldNetworks
        Trained, in evaluation mode.
    targets : int
        Fine variables.
    """

    inputs = ("known", "calendar", "coarse", "place")

    def __init__(self, networks: FieldNetworks, targets: int) -> None:
        super().__init__()
        self.networks = networks
        self.targets = targets

    def forward(self, known: Tensor, calendar: Tensor, coarse: Tensor, place: Tensor) -> Tensor:
        """Return the conditional mean (n, targets, H, W) in scaled units; see `Inputs`."""
        inputs = Inputs(known, calendar, coarse, place)
        features = _features(self.networks, coarse)
        total = zeros_like(known[:, : self.targets])
        for net in self.networks.regressors:
            digested = net.digest(net.gather(inputs, features), calendar)
            total = total + net(digested, calendar, None, zeros_like(calendar[:, 0]))
        return known[:, : self.targets] + total / len(self.networks.regressors)


class Generator(nn.Module):
    """One evaluation of the generating network; its known channels end with the mean, if any.

    Parameters
    ----------
    networks : FieldNetworks
        Trained, in evaluation mode.
    """

    inputs = ("known", "calendar", "coarse", "place", "noisy", "sigma")

    def __init__(self, networks: FieldNetworks) -> None:
        super().__init__()
        self.networks = networks

    def forward(
        self,
        known: Tensor,
        calendar: Tensor,
        coarse: Tensor,
        place: Tensor,
        noisy: Tensor,
        sigma: Tensor,
    ) -> Tensor:
        """Map noisy fields (n, noisy, H, W) and noise levels (n,) to the network's output."""
        net = self.networks.generator
        inputs = Inputs(known, calendar, coarse, place)
        digested = net.digest(net.gather(inputs, _features(self.networks, coarse)), calendar)
        out: Tensor = net(digested, calendar, noisy, sigma)
        return out


def _features(networks: FieldNetworks, coarse: Tensor) -> Tensor | None:
    return None if networks.encoder is None else coarse_features(networks.encoder, coarse)
