"""Commands ``inspect`` and ``study`` in processes of their own."""

from __future__ import annotations

import re

from records import make_pair

COARSE, FINE = (record.t for record in make_pair(60))


def test_inspect_of_good_records(command, tmp_path):
    COARSE.to_netcdf(tmp_path / "coarse.nc")
    FINE.to_netcdf(tmp_path / "fine.nc")
    done = command("inspect", "coarse.nc", "fine.nc", "--preset", "dressed", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No fault: fit would begin." in done.stdout
    assert "cost: closed forms" in done.stdout
    assert re.search(r"variables +t \[K\] +t \[K\]", done.stdout)


def test_inspect_names_every_fault_and_fails(command, tmp_path):
    COARSE.to_netcdf(tmp_path / "coarse.nc")
    bad = (FINE - 273.15).assign_attrs(units="degC").expand_dims(level=[1.0, 2.0])
    bad.to_netcdf(tmp_path / "fine.nc")
    done = command("inspect", "coarse.nc", "fine.nc", "--no-cost", where=tmp_path)
    assert done.returncode == 1
    assert "2 faults to mend before fit:" in done.stdout or "3 faults" in done.stdout
    assert "fine = fine.isel(level=0)" in done.stdout
    assert "fine = (fine + 273.15)" in done.stdout
    assert "Traceback" not in done.stderr


def test_study_lists_systems_and_refuses_what_is_not_there(command, tmp_path):
    done = command("study", "--list", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"diffusion", "patch_unet", "vae", "vdm", "asdm"} <= set(done.stdout.split())
    done = command("study", "--methods", "fats", where=tmp_path)
    assert done.returncode == 1
    assert "Did you mean 'fast'?" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("study", "--seeds", "one", where=tmp_path)
    assert done.returncode == 2
    done = command("study", "--figure", "6", "--out", "nothing", where=tmp_path)
    assert done.returncode == 1
    assert "is no study" in done.stderr
