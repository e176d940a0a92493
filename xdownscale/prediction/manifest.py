"""Progress manifest that makes a Zarr run resumable: its request, and its finished pieces."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from xdownscale.core import files, hashing
from xdownscale.core.errors import ModelFormatError, ModelMismatchError, StorageError
from xdownscale.fitting import drift
from xdownscale.io import schema
from xdownscale.io.schema import REST, Between
from xdownscale.prediction import integrity
from xdownscale.prediction.integrity import RECORD
from xdownscale.prediction.rollout import RolloutState
from xdownscale.prediction.targets import Folder, Target

GROUP = "xdownscale"  # group of the store that holds the manifest
FORMAT = 2
_FINISHED = "finished"  # 1 where a piece is in the store
_WRITTEN = "written"  # records of the files of each piece
_FACTS = f"{GROUP}/zarr.json"
_READERS = 4  # threads that hash files
_PARTIAL = re.compile(r".*\.[0-9a-f]{32}\.partial")  # names that Zarr gives to unfinished files
_COUNTS = [Between(1, 2**31)]
_SCHEMA = {
    "chunks": [_COUNTS],
    "tile": (None, str, Between(1, 2**31)),
    "variables": {REST: [(None, Between(0, 1))]},
    "metadata": {REST: str},
    "files": {REST: str},
    "within?": (None, {REST: Between(1, 2**31)}),
    REST: object,
}
_STATE_SCHEMA = {"key": Between(-(2**62), 2**62), "group": str, "watched": [[float]]}
_GROUP_SCHEMA = {
    "attributes": {REST: object},
    "zarr_format": Between(3, 3),
    "node_type": str,
    "consolidated_metadata?": object,
}
_WORDS = {
    "version": "version of xdownscale",
    "model": "model",
    "driver": "coarse record",
    "days": "days",
    "seed": "seed",
    "mode": "mode",
    "stitching": "stitching",
    "realizations": "number of realizations",
    "history": "history",
    "chunks": "chunks",
    "within": "chunks within shards",
}


class Manifest:
    """Progress manifest of a Zarr store: facts of the run, finished pieces, rollout states.

    It is the group `xdownscale` of the store.

    Parameters
    ----------
    store : Target or Path
        The store; a path is that of a folder.

    Raises
    ------
    StorageError
        If it holds something else.
    """

    def __init__(self, store: Target | Path) -> None:
        self.store = _target(store)
        facts = _read_facts(self.store)
        if facts is None:
            raise StorageError(
                f"{self.store.name} exists and is no store of predict_to_zarr: nothing was "
                "changed. Give a path that does not exist yet, or remove what is there."
            )
        if facts.get("format") != FORMAT:
            raise StorageError(
                f"{self.store.name} was begun by another version of xdownscale (manifest format "
                f"{facts.get('format')}, this one writes {FORMAT}). Finish it with that one, or "
                "give another path."
            )
        self.facts = facts

    @classmethod
    def create(cls, store: Target | Path, facts: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Write the manifest of a new store.

        Parameters
        ----------
        store : Target or Path
            A Zarr group; a path is that of its folder.
        facts : mapping
            What decides the numbers, JSON; and ``variables``, which tells for each variable of
            fields which index of a piece counts along each dimension (0, 1 or None).
        shape : tuple of int
            Pieces along realizations and time.
        """
        import zarr

        target = _target(store)
        group = zarr.open_group(target.opened(), path=GROUP, mode="w", zarr_format=3)
        count = len(facts.get("variables", ()))
        options: dict[str, Any] = {"dtype": "uint8", "fill_value": 0, "compressors": None}
        group.create_array(_FINISHED, shape=shape, chunks=(1, 1), **options)
        written = (count, RECORD)
        group.create_array(_WRITTEN, shape=(*shape, *written), chunks=(1, 1, *written), **options)
        said = {"format": FORMAT, **facts, **integrity.describe(target, _FACTS)}
        group.update_attributes({**said, "sha256": integrity.digest(said)})

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise unless the store was begun with the same facts, and its manifest is as written.

        Raises
        ------
        ModelMismatchError
            Names every fact that differs.
        StorageError
            If the manifest was altered.
        """
        off = [name for name in _WORDS if name in facts and facts[name] != self.facts.get(name)]
        if off:
            listed = "; ".join(
                f"{_WORDS[name]}: {_short(self.facts.get(name))} there, {_short(facts[name])} now"
                for name in off
            )
            raise ModelMismatchError(
                f"{self.store.name} was begun otherwise, and nothing was changed ({listed}). Ask "
                "for the same again, or give another path. What is there can be read with "
                "xarray.open_zarr."
            )
        said = {name: fact for name, fact in self.facts.items() if name != "sha256"}
        if self.facts.get("sha256") != integrity.digest(said) or not _is_sound(self.facts):
            raise _altered(self.store)

    def check_pieces(self, variables: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Raise unless the pieces are those of a request, and divide its fields only.

        Anybody can compute the hash of a manifest, and what it names is deleted where it is not
        as it was written.

        Parameters
        ----------
        variables : mapping
            As `create` was given it.
        shape : tuple of int
            Number of realizations and of times.

        Raises
        ------
        StorageError
            If the manifest was altered.
        """
        steps, members = self.facts["chunks"]
        if self.facts["variables"] != variables or (sum(members), sum(steps)) != shape:
            raise _altered(self.store)

    def check_metadata(self) -> None:
        """Raise unless metadata and coordinates of the store are as they were written.

        Raises
        ------
        StorageError
            Names what is missing or altered.
        """
        integrity.check(self.store, self.facts)

    def finished(self) -> npt.NDArray[np.bool_]:
        """Return which pieces are said to be in the store, (realization, time)."""
        steps, members = self.facts["chunks"]
        found = np.zeros((len(members), len(steps)), bool)
        places = list(np.ndindex(found.shape))
        marks = self.store.read_all([self._mark(index) for index in places])
        for index, mark in zip(places, marks, strict=True):
            found[index] = mark == b"\x01"
        return found

    def lost(self, finished: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which of the finished pieces are no longer what was written.

        Their files are read and hashed.
        """
        places = [(int(row), int(column)) for row, column in np.argwhere(finished)]
        with ThreadPoolExecutor(_READERS) as pool:
            sound = list(pool.map(self._is_sound, places))
        found = np.zeros_like(finished)
        for index, whole in zip(places, sound, strict=True):
            found[index] = not whole
        return found

    def forget(self, pieces: npt.NDArray[np.bool_]) -> None:
        """Delete pieces, so that they are generated again."""
        for row, column in np.argwhere(pieces):
            index = (int(row), int(column))
            marks = [self._mark(index), self._record(index)]
            for key in [*marks, *self._files(index)]:
                self.store.remove(key)

    def mark_finished(self, index: tuple[int, int]) -> None:
        """Record that a piece is in the store, and what its files are."""
        import zarr

        record = np.frombuffer(self._found(index), np.uint8).reshape(-1, RECORD)
        opened = self.store.opened()
        with self.store.reached():
            zarr.open_array(opened, path=f"{GROUP}/{_WRITTEN}", mode="r+")[index] = record
            zarr.open_array(opened, path=f"{GROUP}/{_FINISHED}", mode="r+")[index] = 1

    def _is_sound(self, index: tuple[int, int]) -> bool:
        return (self.store.read(self._record(index)) or b"") == self._found(index)

    def _found(self, index: tuple[int, int]) -> bytes:
        return b"".join(map(self.store.record, self._files(index)))

    def _files(self, index: tuple[int, int]) -> list[str]:
        """Return the chunk of each variable that holds a piece."""
        named = self.facts.get("variables", {})
        parts = {
            name: [str(0 if axis is None else index[axis]) for axis in axes]
            for name, axes in named.items()
        }
        return [f"{name}/c/{'/'.join(part)}" for name, part in parts.items()]

    @staticmethod
    def _mark(index: tuple[int, int]) -> str:
        return f"{GROUP}/{_FINISHED}/c/{index[0]}/{index[1]}"

    @staticmethod
    def _record(index: tuple[int, int]) -> str:
        return f"{GROUP}/{_WRITTEN}/c/{index[0]}/{index[1]}/0/0"

    def save_state(self, index: tuple[int, int], state: Mapping[str | None, RolloutState]) -> None:
        """Save the state that the next piece of the same realizations continues from."""
        import zarr

        for region, part in state.items():
            path = f"{self._state_path(index)}/{region or '_all'}"
            watched = [np.asarray(row, float).tolist() for row in part.watched]
            said = {"key": part.key, "group": part.group, "watched": watched}
            with self.store.reached():
                group = zarr.open_group(self.store.opened(), path=path, mode="w", zarr_format=3)
                group.update_attributes({**said, "sha256": _digest(said, part.lags)})
                group.create_array("memory", data=part.lags)

    def load_state(self, index: tuple[int, int]) -> dict[str | None, RolloutState] | None:
        """Return the state that a finished piece saved; None where it is missing or damaged."""
        import zarr

        try:
            opened = self.store.opened()
            saved: Any = zarr.open_group(opened, path=self._state_path(index), mode="r")
            return {None if n == "_all" else n: _state(group) for n, group in saved.groups()}
        except Exception:  # damaged files make zarr raise whatever there is
            return None

    def drop_state(self, index: tuple[int, int]) -> None:
        """Delete the state of a piece that the next one has continued."""
        self.store.remove_below(self._state_path(index))

    def remove_partial_files(self) -> None:
        """Remove files that Zarr, in a process that was killed, left half-written.

        Only folders have such files.
        """
        if not isinstance(self.store, Folder):
            return
        store = self.store.path
        ours = [store / GROUP, *(store / name for name in self.facts["variables"])]
        for leftover in (path for folder in ours for path in folder.rglob("*.partial")):
            if _PARTIAL.fullmatch(leftover.name):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    @staticmethod
    def _state_path(index: tuple[int, int]) -> str:
        return f"{GROUP}/walk/{index[0]}/{index[1]}"


def _state(group: Any) -> RolloutState:
    """Return a state as `Manifest.save_state` saved it; raise ValueError where it was altered."""
    said = {name: group.attrs[name] for name in ("key", "group", "watched")}
    lags = np.asarray(group["memory"][:], np.float32)
    if group.attrs["sha256"] != _digest(said, lags):
        raise ValueError("the state of a rollout was altered")
    schema.check(said, _STATE_SCHEMA, "The state of a rollout")
    watched = [np.array(row, float) for row in said["watched"]]
    if any(row.shape != (len(drift.NAMES),) for row in watched):
        raise ValueError("the state of a rollout was altered")
    return RolloutState(key=said["key"], lags=lags, group=said["group"], watched=watched)


def _digest(said: Mapping[str, Any], lags: npt.NDArray[np.float32]) -> str:
    return hashing.fingerprint(integrity.digest(said), np.asarray(lags, np.float32))


def _target(store: Target | Path) -> Target:
    return store if isinstance(store, Target) else Folder(store)


def _read_facts(store: Target) -> dict[str, Any] | None:
    """Return the attributes of a manifest, or None where there is none."""
    content = store.read(_FACTS)
    if content is None and store.record(_FACTS) == integrity.NO_FILE:
        return None
    if content is None:  # it cannot be read, or is a folder
        raise _altered(store)
    try:
        found = schema.parse(content)
        schema.check(found, _GROUP_SCHEMA, _FACTS)
    except ModelFormatError as err:
        raise _altered(store) from err
    facts: dict[str, Any] = found["attributes"]
    return facts


def _altered(store: Target) -> StorageError:
    return StorageError(
        f"The manifest of {store.name} was altered or is damaged, and nothing was changed. Put "
        f"{_FACTS} back from a copy; or remove the store, or give another path, and call the same "
        "again."
    )


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Tell whether facts have the form that `Manifest.create` gives them."""
    try:
        schema.check(facts, _SCHEMA, _FACTS)
    except ModelFormatError:
        return False
    named = [PurePosixPath(name) for name in (*facts["metadata"], *facts["files"])]
    inside = all(
        not path.is_absolute() and path.parts and ".." not in path.parts and "\0" not in str(path)
        for path in named
    )
    return inside and len(facts["chunks"]) == 2


def _short(fact: Any) -> str:
    text = str(fact)
    return text if len(text) <= 40 else text[:12]


_TAKEN = "Another process is filling {}. Wait for it, or stop it: what it finished is kept."


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
    with files.exclusive(folder, _TAKEN.format(folder)):
        yield


@contextlib.contextmanager
def new_store(store: Path, fill: Callable[[Path], None]) -> Iterator[None]:
    """Create a store atomically, and hold its lock: fill a folder beside it, then rename that.

    Parameters
    ----------
    store : Path
        Folder that does not exist yet.
    fill : callable
        Writes what a new store consists of into a folder.

    Raises
    ------
    StorageError
        If it cannot be made, or another process was faster.
    """
    with contextlib.ExitStack() as held:
        try:
            _remove_leftovers(store)
            fresh = _locked_folder(store, held)
        except OSError as err:
            raise StorageError(
                f"{store} cannot be written: {err.strerror or err}. Give a path in a folder that "
                "exists and may be written to."
            ) from err
        try:
            fill(fresh)
            fresh.chmod(0o777 & ~_umask())
            fresh.rename(store)
        except StorageError:
            raise
        except OSError as err:
            if err.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                raise StorageError(_TAKEN.format(store)) from err
            raise StorageError(
                f"{store} cannot be written: {err.strerror or err}. Nothing was left there."
            ) from err
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        yield


def _remove_leftovers(store: Path) -> None:
    """Remove what processes that were killed left of a new store; live ones hold a lock."""
    for leftover in store.parent.glob(f".{store.name}.*.new"):
        with contextlib.suppress(StorageError, FileNotFoundError), exclusive(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _locked_folder(store: Path, held: contextlib.ExitStack) -> Path:
    """Make a folder beside a store, and lock it.

    Until it is locked, another process may take it for a leftover and remove it: then make another.
    """
    while True:
        fresh = Path(tempfile.mkdtemp(".new", f".{store.name}.", store.parent))
        with contextlib.ExitStack() as trial, contextlib.suppress(StorageError, FileNotFoundError):
            trial.enter_context(exclusive(fresh))
            if fresh.is_dir():
                held.push(trial.pop_all())
                return fresh


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write on a folder's file system."""
    return shutil.disk_usage(folder).free
