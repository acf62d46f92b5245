"""A PostgreSQL server of a run's own: made, started and thrown away, with everything that a connector asks of it.

Knows nothing of tables. The server refuses to run as root: there it runs as the user that Debian's package made.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, LiteralString, Self

import psycopg

from integration.kafka_process import kept_port

USER: Final = "postgres"
START_SECONDS: Final = 30.0
# Durable it need not be: it is thrown away with the machine's files.
OPTIONS: Final = {
    "wal_level": "logical",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
}

Connection = psycopg.Connection[dict[str, Any]]


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, the newest where there are several; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    there = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(there, key=lambda folder: int(folder.parent.name), default=None)


class PostgreSQL:
    """The server for the length of a `with`. Its superuser is `postgres`; from this machine nobody needs a password."""

    def __init__(self) -> None:
        self.port = kept_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self.folder, USER, USER)
        data, bin_ = self.folder / "data", programs()
        assert bin_ is not None, "there is no PostgreSQL here"
        make = [*self._ward(), str(bin_ / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run([*make, "--locale=C"], check=True, capture_output=True, cwd=self.folder)
        options = OPTIONS | {"port": str(self.port)}
        said = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            command = [*self._ward(), str(bin_ / "postgres"), "-D", str(data), *said]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._await_answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:  # it waits for its clients to go
                self._process.send_signal(2)
                self._process.wait(START_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str, user: str = USER) -> Connection:
        """A session that commits each statement by itself, unless it opens a transaction; rows are dictionaries."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, autocommit=True,
            row_factory=psycopg.rows.dict_row,
        )  # fmt: skip

    def create(self, database: str, schema: LiteralString) -> None:
        """A database with what a script of SQL makes in it."""
        with self.connect("postgres") as session:
            session.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        with self.connect(database) as session:
            session.execute(schema)

    def address(self, database: str) -> str:
        """As JDBC drivers take it."""
        return f"jdbc:postgresql://127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """All that it said."""
        return (self.folder / "log").read_text(errors="replace")

    def _ward(self) -> list[str]:
        """Not as root; and where the system can tell it to, it ends with this process even if that is killed."""
        found = ["setpriv"] if shutil.which("setpriv") else []
        if found and os.getuid() == 0:
            found += ["--reuid", USER, "--regid", USER, "--clear-groups"]
        return [*found, "--pdeathsig", "INT"] if found else []

    def _await_answer(self) -> None:
        deadline = monotonic() + START_SECONDS
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                running = self._process is not None and self._process.poll() is None
                assert running, f"PostgreSQL ended: {self.log()[-500:]}"
                assert monotonic() < deadline, f"PostgreSQL does not answer: {self.log()[-500:]}"
                sleep(0.05)
            else:
                return
