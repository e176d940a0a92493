"""Export the networks of a model to ONNX, for runtimes without torch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdownscale.core import optional
from xdownscale.core.errors import OptionError
from xdownscale.core.files import as_path, make_folder, write_whole
from xdownscale.fitting.fitted_model import Fitted, GroupModel, sizes_of
from xdownscale.io import serialization

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xdownscale.models.networks.channels import Sizes
    from xdownscale.models.networks.field_unet import FieldNetworks

_OPSET = 18
_WAYS = "unet, crps, residual, dressed_unet, and selected where it kept networks"


def export(fitted: Fitted, folder: str | PathLike[str]) -> dict[str, Path]:
    """Write each network of a model into a folder; see `Downscaler.export_onnx`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    folder : str or path
        Where the files go; it is made if need be.
    """
    optional.require("onnx", "export_onnx")
    optional.require("onnxscript", "export_onnx")
    where = as_path(folder, "folder")
    graphs = [
        (model, *found) for model in fitted.models.values() for found in _graphs(fitted, model)
    ]
    make_folder(where)
    written = {}
    for model, name, module, example in graphs:
        label = name if len(fitted.models) == 1 else f"{model.group.name}-{name}"
        path = where / f"{label.replace('/', '-')}.onnx"
        write_whole(path, _as_onnx(module, example, _facts(fitted, model, name)))
        written[label] = path
    return written


def _graphs(
    fitted: Fitted, model: GroupModel
) -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    """Yield name, module and example inputs of each network of a group."""
    import torch

    from xdownscale.models.networks.field_unet import lattice
    from xdownscale.models.networks.graphs import ConditionalMean, Generator

    sizes = sizes_of(fitted, model)
    networks = _networks(fitted, model, sizes)
    side = 6 * lattice(fitted.config.network)
    rows, columns = side, side + lattice(fitted.config.network)
    generated = networks.drawer if _draws_pixels(networks) else None
    known = torch.zeros(2, sizes.known, rows, columns)
    rest = (
        torch.zeros(2, sizes.calendar),
        torch.zeros(2, sizes.coarse_lags, 8, 9),
        torch.zeros(2, rows, columns, 2),
    )
    mean = bool(networks.regressors)
    if mean:
        yield "mean", ConditionalMean(networks, sizes.targets), (known, *rest)
    if generated is not None and generated.noisy is not None:
        seen = torch.zeros(2, sizes.known + (sizes.targets if mean else 0), rows, columns)
        channels = generated.noisy.in_channels // generated.block**2
        noisy = torch.zeros(2, channels, rows, columns)
        yield "generator", Generator(networks), (seen, *rest, noisy, torch.ones(2))


def _networks(fitted: Fitted, model: GroupModel, sizes: Sizes) -> FieldNetworks:
    """Return the trained networks of a group on the CPU."""
    sampler: Any = None
    if fitted.method.networks:
        sampler = fitted.method.load(model.state, fitted.config, sizes, "cpu")
    sampler = getattr(sampler, "mean", sampler)  # of a method that dresses what networks estimate
    networks = getattr(sampler, "networks", None)
    if networks is not None:
        from xdownscale.models.networks.field_unet import FieldNetworks

        if isinstance(networks, FieldNetworks):
            return networks
    raise OptionError(
        f"Method {fitted.config.method!r} has no network here that ONNX can hold: export_onnx "
        f"takes those of {_WAYS}."
    )


def _draws_pixels(networks: FieldNetworks) -> bool:
    """Tell whether fields of pixels are generated, and not those of an autoencoder."""
    from xdownscale.models.networks.autoencoder import LatentNetworks

    return not isinstance(networks, LatentNetworks)


def _as_onnx(module: Any, example: tuple[Tensor, ...], facts: dict[str, str]) -> bytes:
    """Return a module as ONNX, for any number of images of any size that its lattice divides."""
    import torch
    from torch.export import Dim

    from xdownscale.models.networks.batch_invariance import any_batch

    spatial = {"known": (0, 2, 3), "coarse": (0, 2, 3), "place": (0, 1, 2), "noisy": (0, 2, 3)}
    free = tuple(dict.fromkeys(spatial.get(name, (0,)), Dim.AUTO) for name in module.inputs)
    buffer = io.BytesIO()
    with any_batch(), _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            dynamic_shapes=free,
            input_names=list(module.inputs),
            output_names=["fields"],
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(facts)
        program.save(buffer)  # type: ignore[arg-type]  # it takes files too
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own reports of its progress from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _facts(fitted: Fitted, model: GroupModel, name: str) -> dict[str, str]:
    """Return what a user of a network has to know, as texts."""
    from xdownscale.models.networks.field_unet import lattice

    return {
        "xdownscale.network": name,
        "xdownscale.method": fitted.config.method,
        "xdownscale.version": fitted.about.version,
        "xdownscale.model": serialization.identity(fitted),
        "xdownscale.lattice": str(lattice(fitted.config.network)),
        "xdownscale.targets": json.dumps([str(each.name) for each in fitted.targets]),
        "xdownscale.drivers": json.dumps(list(fitted.drivers)),
        "xdownscale.target_scalings": json.dumps([asdict(each) for each in model.scalings]),
        "xdownscale.driver_scalings": json.dumps([asdict(each) for each in model.driver_scalings]),
    }
