"""Progress manifest that makes a Zarr run resumable: its request, and its finished pieces."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.core.errors import ModelMismatchError, StorageError
from xdownscale.prediction.rollout import RolloutState

GROUP = "xdownscale"  # group of the store that holds the manifest
FORMAT = 1
_FINISHED = "finished"
_WORDS = {
    "model": "model",
    "driver": "coarse record",
    "days": "days",
    "seed": "seed",
    "mode": "mode",
    "stitching": "stitching",
    "realizations": "number of realizations",
    "history": "history",
    "chunks": "chunks",
}


class Manifest:
    """Progress manifest of a Zarr store: facts of the run, finished pieces, rollout states.

    It is the group `xdownscale` of the store.

    Parameters
    ----------
    store : Path
        Folder of the store.

    Raises
    ------
    StorageError
        If the folder holds something else.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        facts = _read_facts(store)
        if facts is None:
            raise StorageError(
                f"{store} exists and is no store of predict_to_zarr: nothing was changed. "
                "Give a path that does not exist yet, or remove what is there."
            )
        if facts.get("format") != FORMAT:
            raise StorageError(
                f"{store} was begun by another version of xdownscale (manifest format "
                f"{facts.get('format')}, this one writes {FORMAT}). Finish it with that one, or "
                "give another path."
            )
        self.facts = facts

    @classmethod
    def create(cls, store: Path, facts: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Write the manifest of a new store.

        Parameters
        ----------
        store : Path
            Folder of a Zarr group.
        facts : mapping
            What decides the numbers; JSON.
        shape : tuple of int
            Pieces along realizations and time.
        """
        import zarr

        group = zarr.open_group(store, path=GROUP, mode="w", zarr_format=3)
        group.update_attributes({"format": FORMAT, **facts})
        group.create_array(
            _FINISHED, shape=shape, chunks=(1, 1), dtype="uint8", fill_value=0, compressors=None
        )

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise unless the store was begun with the same facts.

        Raises
        ------
        ModelMismatchError
            Names every fact that differs.
        """
        off = [name for name in _WORDS if name in facts and facts[name] != self.facts.get(name)]
        if off:
            listed = "; ".join(
                f"{_WORDS[name]}: {_short(self.facts.get(name))} there, {_short(facts[name])} now"
                for name in off
            )
            raise ModelMismatchError(
                f"{self.store} was begun otherwise, and nothing was changed ({listed}). Ask for "
                "the same again, or give another path."
            )

    def finished(self) -> npt.NDArray[np.bool_]:
        """Return which pieces are in the store, (realization, time)."""
        return np.asarray(self._array()[:], bool)

    def mark_finished(self, index: tuple[int, int]) -> None:
        """Record that a piece is in the store."""
        self._array()[index] = 1

    def _array(self) -> Any:
        import zarr

        return zarr.open_array(self.store, path=f"{GROUP}/{_FINISHED}", mode="r+")

    def save_state(self, index: tuple[int, int], state: Mapping[str | None, RolloutState]) -> None:
        """Save the state that the next piece of the same realizations continues from."""
        import zarr

        for region, part in state.items():
            path = f"{self._state_path(index)}/{region or '_all'}"
            group = zarr.open_group(self.store, path=path, mode="w", zarr_format=3)
            watched = [np.asarray(row, float).tolist() for row in part.watched]
            group.update_attributes({"key": part.key, "group": part.group, "watched": watched})
            group.create_array("memory", data=part.lags)

    def load_state(self, index: tuple[int, int]) -> dict[str | None, RolloutState]:
        """Return the state that a finished piece saved."""
        import zarr

        saved: Any = zarr.open_group(self.store, path=self._state_path(index), mode="r")
        found: dict[str | None, RolloutState] = {}
        for name, group in saved.groups():
            attrs = dict(group.attrs)
            found[None if name == "_all" else name] = RolloutState(
                key=attrs["key"],
                lags=np.asarray(group["memory"][:], np.float32),
                group=attrs["group"],
                watched=[np.array(row) for row in attrs["watched"]],
            )
        return found

    def drop_state(self, index: tuple[int, int]) -> None:
        """Delete the state of a piece that the next one has continued."""
        shutil.rmtree(self.store / self._state_path(index), ignore_errors=True)

    def remove_partial_files(self) -> None:
        """Remove files that a killed process left half-written."""
        for leftover in self.store.rglob("*.partial"):
            with contextlib.suppress(OSError):
                leftover.unlink()

    @staticmethod
    def _state_path(index: tuple[int, int]) -> str:
        return f"{GROUP}/walk/{index[0]}/{index[1]}"


def _read_facts(store: Path) -> dict[str, Any] | None:
    """Return the attributes of a manifest, or None where there is none."""
    import zarr

    if not (store / GROUP / "zarr.json").is_file():
        return None
    try:
        group = zarr.open_group(store, path=GROUP, mode="r")
    except (ValueError, KeyError, OSError, TypeError):
        return None
    return dict(group.attrs)


def _short(fact: Any) -> str:
    text = str(fact)
    return text if len(text) <= 40 else text[:12]


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes; the lock of a killed process is released.

    Parameters
    ----------
    folder : Path
        A folder that exists.

    Raises
    ------
    StorageError
        If another process fills it.
    """
    try:
        import fcntl
    except ImportError:  # a system without such locks
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise StorageError(
                f"Another process is filling {folder}. Wait for it, or stop it: what it finished "
                "is kept."
            ) from err
        except OSError:  # a file system without such locks
            pass
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def new_store(store: Path) -> Iterator[Path]:
    """Create a store atomically: yield a folder beside it that is renamed when complete.

    Parameters
    ----------
    store : Path
        Folder that does not exist yet.

    Raises
    ------
    StorageError
        If it cannot be made, or another process was faster.
    """
    try:
        for leftover in store.parent.glob(f".{store.name}.*.new"):  # of a process that was killed
            with contextlib.suppress(StorageError), exclusive(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(".new", f".{store.name}.", store.parent))
    except OSError as err:
        raise StorageError(
            f"{store} cannot be written: {err.strerror or err}. Give a path in a folder that "
            "exists and may be written to."
        ) from err
    try:
        with exclusive(fresh):
            yield fresh
            fresh.chmod(0o777 & ~_umask())
            fresh.rename(store)
    except StorageError:
        raise
    except OSError as err:
        raise StorageError(
            f"{store} cannot be written: {err.strerror or err}. Nothing was left there."
        ) from err
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write on a folder's file system."""
    return shutil.disk_usage(folder).free
