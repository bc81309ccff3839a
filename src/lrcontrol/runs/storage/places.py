"""Where stores are: the file of one, made durably where there is none, and what kind of disk it is on."""

import os
from pathlib import Path

from lrcontrol.errors import NotAStore, StoreError
from lrcontrol.files import sync_folder

__all__ = ["file_of", "file_to", "network_file_system", "ready"]

NETWORKS = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "ncpfs", "nfs", "smb")


def file_of(path: Path) -> Path:
    """The store that a user means by `path`: the file itself, or `runs.db` in the folder of a study."""
    return path / "runs.db" if os.path.isdir(path) else path


def file_to(path: Path) -> Path:
    """The store that a user means to write to: `runs.db` in a folder, also in one that is to be made; else the file.

    Where there is nothing yet, a name without a suffix is that of a folder.

    Example:
        >>> file_to(Path("/none/all")).as_posix(), file_to(Path("/none/all.db")).as_posix()
        ('/none/all/runs.db', '/none/all.db')
    """
    return path / "runs.db" if not path.suffix and not os.path.exists(path) else file_of(path)


def ready(path: Path, create: bool) -> None:
    """See to it that there is a file at `path`: empty, with its folder, where there was none and `create` asks for it.

    Raises:
        NotAStore: it is no file. StoreError: there is none, and none can be made.
    """
    if os.path.isdir(path):  # these never raise, whatever the path
        raise NotAStore(f"a store must be a file, got the folder {path}.")
    if os.path.isfile(path):
        return
    if os.path.exists(path):
        raise NotAStore(f"a store must be a file, got the device or pipe {path}.")
    if not create:
        raise StoreError(f"there is no store at {path}.")
    missing = [folder for folder in (path.parent, *path.parent.parents) if not os.path.exists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise StoreError(f"the folder {path.parent} cannot be made: {_reason(error)}.") from None
    for folder in missing:  # else a loss of power could take a new folder away, with all that was kept in it
        sync_folder(folder.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, ValueError) as error:
        raise StoreError(f"the store {path} cannot be made: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    return str((error.strerror if isinstance(error, OSError) else None) or error)


def network_file_system(path: str | os.PathLike[str], mounts: str | None = None) -> str | None:
    r"""The kind of network file system that a path is on, or None.

    Args:
        path: need not exist.
        mounts: the text of /proc/mounts; by default this machine's.
    Example:
        >>> network_file_system("/home/me/runs.db", "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n")
        'nfs4'
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    whole = os.path.realpath(path)
    kind, longest = "", -1
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        place = parts[1].replace("\\040", " ").rstrip("/")  # the kernel writes a space so
        if len(place) >= longest and (whole == place or whole.startswith(place + "/")):
            kind, longest = parts[2], len(place)
    return kind if kind.startswith(NETWORKS) else None
