"""Folders, private files and locks, with the modes they need whatever the caller's umask."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from extract.embedded.errors import EmbedError


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an OSError, such as a full disk, into an EmbedError."""
    try:
        yield
    except OSError as error:
        raise EmbedError(
            f"expected to read and write {error.filename or 'files'}, got {error.strerror}; "
            "check the disk and who owns it"
        ) from None


def make_folder(path: Path, mode: int, parents_mode: int) -> None:
    """Create `path` and its missing parents; folders that exist keep their mode.

    Raises:
        EmbedError: a folder cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # a start at the same moment made it
                folder.mkdir()
                folder.chmod(mode if folder == path else parents_mode)
    except OSError as error:
        raise EmbedError(
            f"expected to create {path}, got {error.strerror}; set PERPS_HOME and PERPS_CACHE to others"
        ) from None


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` at once with a file of mode 0600 that holds `text`, owned by (uid, gid) if given."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        if owner:
            os.fchown(out.fileno(), *owner)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the exclusive lock on the file `path`, waiting for it, and yield its descriptor.

    Closing releases it, unless a child inherited the descriptor: then the child holds the lock until it ends.

    Raises:
        EmbedError: the file cannot be opened, or its file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbedError(f"expected to write {path}, got {error.strerror}; run as its owner") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise EmbedError(
                f"expected file locks to work in {path.parent}, got {error.strerror}; use a local disk"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock on `path`; False when there is no such file.

    Raises:
        EmbedError: the file belongs to someone else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EmbedError(f"expected to read {path}, got {error.strerror}; run as its owner") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
