"""Imported by the fork server: parses the dbt project, because dbt compiles its classes at first use."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from dbt.cli.main import dbtRunner

PROJECT = Path(__file__).resolve().parent.parent
NOWHERE = {"PGHOST": "none", "PGUSER": "none", "PGDATABASE": "none"}

with tempfile.TemporaryDirectory() as work, patch.dict(os.environ, NOWHERE):
    shutil.copyfile(PROJECT / "profiles.yml.example", Path(work, "profiles.yml"))
    places = [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        work,
        "--target-path",
        work,
        "--log-path",
        work,
    ]
    for _ in range(2):  # the second time from what the first one wrote, as commands do
        dbtRunner().invoke(["--quiet", "parse", *places])
