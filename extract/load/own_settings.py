"""Gives dlt and dbt this project's settings, and keeps them from reading any others.

dlt reads settings from the environment, where `REFRESH` or `WORKERS` may belong to another program, and from
`.dlt` in the current folder and at home; dbt reads `DBT_*`. A few of these settings would delete loaded
candles, or load them elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEPT = frozenset({"DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_USE_COLORS", "DBT_WRITE_JSON"})
"""dbt variables that are kept: they set folders and the form of the output, and change no table."""

DLT_SETTINGS: dict[str, Any] = {
    # dlt's failures are raised as exceptions, which are logged
    # dlt would hold back the first signal until its job is done, and then drop it
    "runtime": {"dlthub_telemetry": False, "log_level": "CRITICAL", "intercept_signals": False},
    "providers": {"enable_airflow_secrets": False},
    # with more workers dlt forks, and the forks of a killed run would hold its lock for ever
    "normalize": {"workers": 1, "parquet_normalizer": {"add_dlt_load_id": True}},
    # gzip took 70 % of the time of normalize, for files that exist for seconds
    "data_writer": {"disable_compression": True, "compression": "none"},
}


def remove_foreign(environment: MutableMapping[str, str]) -> None:
    """Remove dlt's and dbt's variables from an environment. dlt reads some of them during its import."""
    for name in [name for name in environment if name.startswith(("DLT_", "DBT_")) and name not in KEPT]:
        del environment[name]


@contextmanager
def dlt_settings(folder: Path) -> Iterator[None]:
    """Give dlt only `DLT_SETTINGS` inside the block, and one folder to write to.

    Args:
        folder: need not exist; no settings are read from it.
    """
    from dlt.common.configuration.container import Container  # noqa: PLC0415  # see remove_foreign
    from dlt.common.configuration.providers.doc import CustomLoaderDocProvider  # noqa: PLC0415
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext  # noqa: PLC0415
    from dlt.common.runtime.run_context import RunContext  # noqa: PLC0415

    class OwnContext(RunContext):
        run_dir = local_dir = data_dir = global_dir = property(lambda _: str(folder))

        def initial_providers(self) -> list[Any]:
            return [CustomLoaderDocProvider("perps", lambda: DLT_SETTINGS)]

    with Container().injectable_context(PluggableRunContext(OwnContext(None))):
        yield
