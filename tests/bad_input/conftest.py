"""The world that bad input is given to: small records, trained models, a model file, a store."""

from __future__ import annotations

import runpy
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xdownscale as xd

TESTS = Path(__file__).parents[1]
KIT = SimpleNamespace(**runpy.run_path(str(TESTS / "fast_record.py")))
FILES = SimpleNamespace(**runpy.run_path(str(TESTS / "datasets" / "published_files.py")))


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
    kit: Any


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
        grid = FILES.small_grid()
        values = np.ones((24, grid[0].size, grid[1].size), np.float32)
        for date in dates:
            FILES.write_merra2(self.scratch / "merra2", date, values, grid, **options)
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
    for name, array in model.models_[next(iter(model.models_))].state.items():
        if name == "drift.spread":  # networks that learnt for a second drift: no alarm
            array *= 1e9
    return model


def _suite() -> dict[str, Any]:
    return runpy.run_path(str(TESTS / "conftest.py"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("shared")
    coarse, fine = (record["t"] for record in KIT.records())
    pair_coarse, pair_fine = KIT.records(names=("t", "u"))
    quick = {"method": "unet", "sampling": {"steps": 2, "sampler": "mean"}}
    config = KIT.config(sampling={"steps": 2})
    drawer = _learn(coarse, fine, config, folder / "checkpoints")
    walker = _learn(coarse, fine, KIT.config(data={"fine_lags": 2}, sampling={"steps": 2}))
    cool = {"cool": (1, 2, 3)}
    seasonal = _learn(coarse, fine, KIT.config(data={"lags": 2}, **quick), seasons=cool)
    two = _learn(pair_coarse, pair_fine, KIT.config(**quick))
    suite = _suite()
    paper_coarse = suite["make_record"](2.0, days=120, margin=2.0)
    paper_fine = suite["make_record"](0.5, days=100).isel(time=slice(20, None))
    paper = _learn(paper_coarse, paper_fine, xd.preset("paper", **suite["TINY"]))
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
        files=FILES,
        kit=KIT,
    )


@pytest.fixture
def world(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDOWNSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XDOWNSCALE_DATA_URL", raising=False)
    (tmp_path / "scratch").mkdir()
    return World(shared, tmp_path / "scratch", monkeypatch)
