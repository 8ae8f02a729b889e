"""A server for those who do to it what others would not like."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from extract.embedded.cluster import Cluster
from extract.settings import read_settings


@contextmanager
def own_server(cache: Path | None = None) -> Iterator[tuple[Path, Cluster]]:
    """Yield a folder that the server's account can enter, and a server that runs in it; then both go."""
    with tempfile.TemporaryDirectory(prefix="perps-own-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder, "server"), cache or read_settings().cache)
        try:
            cluster.start()
            yield Path(folder), cluster
        finally:
            cluster.destroy()
