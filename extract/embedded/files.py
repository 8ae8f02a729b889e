"""Folders, private files and locks, with modes that do not depend on the caller's umask."""

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
            f"could not read or write {error.filename or 'a file'}: {error.strerror}; "
            "check the disk and the owner"
        ) from None


def make_folder(path: Path, mode: int, parents_mode: int) -> None:
    """Create `path` and its missing parents; folders that exist keep their mode.

    Raises:
        EmbedError: a folder cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another start has just created it
                folder.mkdir()
                folder.chmod(mode if folder == path else parents_mode)
    except OSError as error:
        raise EmbedError(
            f"could not create {path}: {error.strerror}; set PERPS_HOME and PERPS_CACHE to other folders"
        ) from None


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` atomically with a file of mode 0600 that holds `text`, owned by (uid, gid) if given."""
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
    """Wait for the exclusive lock on the file `path`, hold it, and yield its descriptor.

    Closing releases the lock, unless a child inherited the descriptor: then the child holds it until it ends.

    Raises:
        EmbedError: the file cannot be opened, or its file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbedError(f"could not write {path}: {error.strerror}; run as its owner") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise EmbedError(
                f"file locks do not work in {path.parent}: {error.strerror}; set PERPS_HOME to a local disk"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a live process holds the lock on `path`; False if there is no such file.

    Raises:
        EmbedError: the file belongs to someone else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EmbedError(f"could not read {path}: {error.strerror}; run as its owner") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
