"""What the embedded server's folder remembers: connection.json."""

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
    """The port last used, the generated passwords, the TimescaleDB that opened the data."""

    port: int = 0
    passwords: dict[str, str] = field(
        default_factory=lambda: {role: secrets.token_urlsafe(24) for role in roles.ROLES}, repr=False
    )
    timescaledb: str = ""

    @classmethod
    def read(cls, file: Path) -> State | None:
        """Return what `write` wrote, None where there is no such file.

        Raises:
            EmbedError: it is another user's, or holds something else.
        """
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EmbedError(f"expected to read {file}, got {error.strerror}; run as its owner") from None
        except (TypeError, ValueError):
            raise EmbedError(
                f"expected the server's port and passwords in {file}, got something else; "
                "restore the file, or delete the data with `perps db destroy`"
            ) from None

    def write(self, file: Path) -> None:
        """Replace the file, which its owner alone may read."""
        write_private(file, json.dumps(asdict(self), indent=1) + "\n")

    def database(self, role: str, dbname: str) -> Database:
        """Return how a role reaches a database of the server."""
        return Database(HOST, self.port, dbname, role, self.passwords.get(role, ""))
