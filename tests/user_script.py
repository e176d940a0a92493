"""A script that a user would write: test_typing and `.ci/wheel` check it with mypy --strict.

It is checked and never run. A call that is wrong has to be ignored: mypy --strict refuses an
`ignore` that nothing needs, so that names of the type Any do not pass.
"""

from pathlib import Path
from typing import assert_type

import pandas as pd
import xarray as xr

import xdownscale as xd
from xdownscale.core.errors import XDownscaleError
from xdownscale.geostat import acf, semivariogram


def main() -> None:
    config = xd.preset("fast", training={"max_minutes": 0.1})
    assert_type(config, xd.DownscalerConfig)
    xd.preset(3)  # type: ignore[arg-type]

    ds = xd.datasets.load_twin()
    assert_type(ds, xr.Dataset)
    fine = ds["dust_fine"]
    coarse = ds["dust"].rename(time_coarse="time")

    model = xd.fit(coarse, fine, ds["elevation"], preset=config, seed=1, progress=False)
    assert_type(model, xd.Downscaler)
    xd.fit(coarse)  # type: ignore[call-arg]
    model.save("dust.xd")
    again = xd.load(Path("dust.xd"))
    assert_type(again, xd.Downscaler)
    assert_type(xd.load_pretrained("dust-twin-tiny"), xd.Downscaler)

    maps: xr.DataArray = xd.predict(coarse, again, realizations=2, seed=1)
    xd.predict(again, coarse)  # type: ignore[arg-type]
    store = xd.predict_to_zarr(again, coarse, "maps.zarr", realizations=2)
    assert_type(store, xr.Dataset)
    xd.predict_to_zarr(again, coarse)  # type: ignore[call-arg]

    bicubic = xd.regrid(coarse, fine, method="bicubic")
    assert_type(bicubic, xr.DataArray)
    xd.regrid(coarse, fine, method=1)  # type: ignore[arg-type]

    climatology = xd.baselines.climatology(fine, fine.time)
    assert_type(climatology, xr.DataArray)

    curve = xd.geostat.semivariogram(xr.ufuncs.log10(fine), model="matern", bins=20)
    assert_type(curve, xr.Dataset)
    semivariogram(fine, bins="20")  # type: ignore[call-overload]
    assert_type(acf(fine, max_lag=5), xr.DataArray)

    scores = xd.skill.table({"bicubic": bicubic}, fine)
    assert_type(scores, pd.DataFrame)
    print(xd.skill.to_markdown(scores))
    assert_type(xd.skill.rmse(bicubic, fine), xr.DataArray)

    assert_type(xd.report(maps, coarse, fine, path="report.html"), Path)

    try:
        coarse.downscale.predict(model)
        fine.geostat.semivariogram()
    except XDownscaleError as error:
        print(error)


if __name__ == "__main__":
    main()
