"""Folders that hold models, or one folder in which each model has its own."""

import os
from pathlib import Path


def turn_model_file(path: str) -> Path | None:
    """The model that a file's or a folder's name means; None: the folder holds none, or is not
    there.

    Raises:
        ValueError: Several, none of them chosen; or a file that is named and not there.
    """
    named = Path(path)
    if named.is_file():
        return named
    if named.suffix == ".onnx":
        raise ValueError(f"model {path} is not there; give the file or the folder that holds it")
    found = sorted(_files(named)) if path else []
    if len(found) > 1:
        listed = ", ".join(str(one.relative_to(named)) for one in found)
        raise ValueError(f"model {path} holds several models, {listed}; name one of these files")
    return found[0] if found else None


def holds_model(folder: str) -> bool:
    return any(_files(Path(folder)))


def model_folder(folder: str) -> Path:
    """The folder itself, or the only one in it that holds a model."""
    path = Path(folder)
    within = {one.parent for one in _files(path)} - {path}
    return within.pop() if len(within) == 1 and not any(path.glob("*.onnx")) else path


def _files(path: Path) -> list[Path]:
    try:
        return [*path.glob("*.onnx"), *path.glob("*/*.onnx")]
    except OSError:  # `why_unreadable` tells it
        return []


def why_unreadable(folder: str) -> str:
    """What keeps this user from what lies there, and what to do; empty: nothing, or it is empty."""
    path = Path(folder)
    try:
        if path.exists() and not path.is_dir():
            return f"{path} is no folder; name the one that holds the model"
        for one in (path, *path.glob("*/"), *_files(path)):
            wanted = os.R_OK | os.X_OK if one.is_dir() else os.R_OK
            if one.exists() and not os.access(one, wanted):
                return _closed(one)
    except PermissionError as error:
        return _closed(Path(error.filename or folder))
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; look at the disk it is on"
    return ""


def _closed(path: Path) -> str:
    return f"{path} cannot be read by user {os.getuid()}; for all users: chmod -R a+rX {path}"
