"""Fit, predict, write, save and load where torch cannot be imported; run as a script."""

import sys
import warnings
from pathlib import Path


def main(name: str, folder: Path) -> None:
    """Do all that a method promises, and compare the results."""
    for blocked in ("torch", "lightning"):
        sys.modules[blocked] = None
    import numpy as np
    import xarray as xr

    import xdownscale as xd
    from records import make_pair

    warnings.simplefilter("ignore", xd.errors.XDownscaleWarning)
    coarse, fine = make_pair(60, names=("t", "q"))
    model = coarse.downscale.fit(fine, preset=xd.preset(name), progress=False)
    options = {"realizations": 3, "seed": 1}
    eager = coarse.downscale.predict(model, **options)
    lazy = coarse.chunk(time=7).downscale.predict(model, **options).compute()
    model.save(folder / "model.xd")
    loaded = xd.load(folder / "model.xd")
    xd.predict_to_zarr(loaded, coarse, folder / "maps.zarr", progress=False, **options)
    stored = xr.open_zarr(folder / "maps.zarr")
    for variable in ("t", "q"):
        values = eager[variable].values
        assert np.isfinite(values).any()
        np.testing.assert_array_equal(lazy[variable].values, values)
        np.testing.assert_array_equal(stored[variable].transpose(*eager.t.dims).values, values)
    assert repr(loaded) == repr(model)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
