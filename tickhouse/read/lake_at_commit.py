"""Find the lake of a home, and resolve a branch, tag or commit to a commit of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lakefs import Repository
from lakefs.exceptions import BadRequestException, NotFoundException
from pyarrow.fs import FileSystem

from common.clients.lake_files import RefFiles
from common.clients.lake_gateway import lake_filesystem
from common.clients.lakefs import lake_errors, repository
from common.errors import ConfigurationError, UnknownName
from common.market_kind import BANNER, is_simulated
from common.settings import Settings, load_settings, ports
from common.settings import home as home_of_environment
from tickhouse.demo.home import PORT_SHIFT, demo_home
from tickhouse.known_names import nearest_names
from tickhouse.lake.audit_verdict import MARKET


@dataclass(frozen=True, slots=True)
class LakeAtCommit:
    """The files of one commit.

    Attributes:
        commit_id: The commit.
        filesystem: The S3 gateway, or any file system that is laid out like it.
        root: Where the commit's files are: `<repository>/<commit>`.
        banner: What to say beside each figure; empty for real trades.
    """

    commit_id: str
    filesystem: FileSystem
    root: str
    banner: str = ""

    @property
    def files(self) -> RefFiles:
        """Return the commit's files for listings."""
        return RefFiles(self.filesystem, self.root)


def open_lake(as_of: str, home: str | Path | None = None) -> LakeAtCommit:
    """Return the lake of a home at a branch, tag or commit.

    Args:
        as_of: Branch, tag or commit.
        home: Folder of the lakehouse; that of the environment when None.

    Raises:
        ConfigurationError: There is no lakehouse in the folder, or no such reference.
        StoreUnavailable: The lake does not answer.
    """
    folder = home_of_environment() if home is None else Path(home).resolve()
    settings = load_settings() if folder == home_of_environment() else settings_of(folder)
    with lake_errors(settings):
        commit_id, market = _resolve(repository(settings), as_of)
    simulated = market == "simulated" or is_simulated(folder)
    root = f"{settings.lake_repository}/{commit_id}"
    return LakeAtCommit(commit_id, lake_filesystem(settings), root, BANNER if simulated else "")


def settings_of(folder: Path) -> Settings:
    """Return the settings of a home that is not the environment's.

    A demo's servers listen `PORT_SHIFT` above those of the other homes.

    Raises:
        ConfigurationError: There is no lakehouse in the folder, or its settings do not load.
    """
    secrets = folder / "secrets.env"
    if not secrets.is_file():
        raise ConfigurationError(
            f"There is no lakehouse in {folder}.", next_command="tickhouse up, or tickhouse demo for a synthetic market"
        )
    shift = PORT_SHIFT * (_is_of_demo(folder) - _is_of_demo(home_of_environment()))
    try:
        if not shift:
            return Settings(_env_file=secrets)
        return Settings(_env_file=secrets, lakefs_endpoint=f"http://127.0.0.1:{ports()['lakefs'] + shift}")
    except ValueError as error:
        raise ConfigurationError(f"{secrets} does not load: {error}", next_command="tickhouse config show") from error


def _is_of_demo(folder: Path) -> bool:
    return demo_home(folder) == folder


def _resolve(lake: Repository, as_of: str) -> tuple[str, str]:
    """Return the commit of a reference, and the kind of its market by the commit's metadata."""
    if not as_of:
        raise _unknown(lake, as_of)
    try:
        commit = lake.ref(as_of).get_commit()
    except (NotFoundException, BadRequestException) as error:
        raise _unknown(lake, as_of) from error
    return str(commit.id), str((commit.metadata or {}).get(MARKET, ""))


def _unknown(lake: Repository, as_of: str) -> UnknownName:
    known = [*(one.id for one in lake.branches()), *(one.id for one in lake.tags())]
    return UnknownName(
        f"The lake has no branch, tag or commit {as_of!r}. The nearest: {nearest_names(as_of, known)}.",
        next_command="tickhouse lake branch, or tickhouse lake tag",
    )
