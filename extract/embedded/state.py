"""The state of the embedded server that is kept in its folder: connection.json."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from extract.database.database import Database
from extract.embedded import roles
from extract.embedded.errors import EmbedError
from extract.embedded.files import write_private

HOST = "127.0.0.1"


@dataclass(frozen=True)
class State:
    """The last port, the generated passwords, and the TimescaleDB version that last opened the data."""

    port: int = 0
    passwords: dict[str, str] = field(
        default_factory=lambda: {role: secrets.token_urlsafe(24) for role in roles.ROLES}, repr=False
    )
    timescaledb: str = ""

    @classmethod
    def read(cls, file: Path) -> State | None:
        """Return the state in a file, None if there is no such file.

        Raises:
            EmbedError: the file is another user's, or has other content.
        """
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EmbedError(f"could not read {file}: {error.strerror}; run as its owner") from None
        except (TypeError, ValueError):
            raise EmbedError(
                f"{file} does not hold the server's port and passwords; "
                "restore the file, or delete the data with: perps db destroy --yes"
            ) from None

    def write(self, file: Path) -> None:
        """Replace the file; only its owner may read it."""
        write_private(file, json.dumps(asdict(self), indent=1) + "\n")

    def database(self, role: str, dbname: str) -> Database:
        """Return a database of the server, to open as a role."""
        return Database(HOST, self.port, dbname, role, self.passwords.get(role, ""))
