"""The world that bad input is given to: small records, trained models, a model file, a store."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import published_files
import xdownscale as xd
from records import TINY, fast_config, make_pair, make_record, silence_drift


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all cases share; none may change it."""

    coarse: xr.DataArray
    fine: xr.DataArray
    pair_coarse: xr.Dataset
    pair_fine: xr.Dataset
    drawer: xd.Downscaler
    walker: xd.Downscaler
    seasonal: xd.Downscaler
    two: xd.Downscaler
    paper: xd.Downscaler
    paper_coarse: xr.DataArray
    paper_fine: xr.DataArray
    config: xd.DownscalerConfig
    file: Path
    store: Path
    walk: Path
    checkpoints: Path
    published: Path
    files: Any


class World:
    """The shared things, an empty folder and a monkeypatch of one case."""

    def __init__(self, shared: Shared, scratch: Path, patch: pytest.MonkeyPatch) -> None:
        self._shared, self.scratch, self.patch = shared, scratch, patch

    @property
    def lasting(self) -> list[Path]:
        """What lies on the disk for all cases."""
        s = self._shared
        return [s.file, s.store, s.walk, s.checkpoints, s.published]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    def text(self, name: str, content: str = "something of mine") -> Path:
        """Write a small file."""
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def copy(self, source: Path, name: str, content: bytes | None = None) -> Path:
        """Write a copy of a file, or of part of it."""
        path = self.scratch / name
        path.write_bytes(source.read_bytes() if content is None else content)
        return path

    def merra2(self, *dates: str, **options: Any) -> Path:
        """Write published files of few cells; return their folder."""
        grid = published_files.small_grid()
        values = np.ones((24, grid[0].size, grid[1].size), np.float32)
        for date in dates:
            published_files.write_merra2(self.scratch / "merra2", date, values, grid, **options)
        return self.scratch / "merra2"


def _learn(coarse: Any, fine: Any, config: Any, checkpoint_dir: Any = None, **options: Any) -> Any:
    model = xd.Downscaler(
        preset=config,
        pairing="paired",
        progress=False,
        device="cpu",
        checkpoint_dir=checkpoint_dir,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        model.fit(coarse, fine)
    return silence_drift(model, next(iter(model.models_)))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("shared")
    coarse, fine = (record["t"] for record in make_pair())
    pair_coarse, pair_fine = make_pair(names=("t", "u"))
    quick = {"method": "unet", "sampling": {"sampler": "mean"}}
    config = fast_config(sampling={"steps": 2}, data={"missing_ends": 0.0})  # no time at an end
    drawer = _learn(coarse, fine, config, folder / "checkpoints")
    walker = _learn(coarse, fine, fast_config(data={"fine_lags": 2}, sampling={"steps": 2}))
    cool = {"cool": (1, 2, 3)}
    seasonal = _learn(coarse, fine, fast_config(data={"lags": 2}, **quick), seasons=cool)
    two = _learn(pair_coarse, pair_fine, fast_config(**quick))
    paper_coarse = make_record(2.0, days=120, margin=2.0)
    paper_fine = make_record(0.5, days=100).isel(time=slice(20, None))
    paper = _learn(paper_coarse, paper_fine, xd.preset("paper", **TINY))
    drawer.save(folder / "drawer.xd")
    store, walk = folder / "maps.zarr", folder / "walk.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
        xd.predict_to_zarr(drawer, coarse, store, realizations=2, chunks=60, progress=False)
        days = coarse.time[40:52]
        xd.predict_to_zarr(walker, coarse, walk, time=days, chunks=6, progress=False)
        xd.publish(two, folder / "published", name="tiny", licence="CC0", intended_use="tests")
    return Shared(
        coarse=coarse,
        fine=fine,
        pair_coarse=pair_coarse,
        pair_fine=pair_fine,
        drawer=drawer,
        walker=walker,
        seasonal=seasonal,
        two=two,
        paper=paper,
        paper_coarse=paper_coarse,
        paper_fine=paper_fine,
        config=config,
        file=folder / "drawer.xd",
        store=store,
        walk=walk,
        checkpoints=folder / "checkpoints",
        published=folder / "published",
        files=published_files,
    )


@pytest.fixture
def world(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XDOWNSCALE_DATA_URL", raising=False)
    (tmp_path / "scratch").mkdir()
    return World(shared, tmp_path / "scratch", monkeypatch)
