"""What lies in a folder or archive of images, before its folders are understood."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from darts_core.data.decode import SUFFIXES, FileRef
from darts_core.data.foreign import HEAD_BYTES, reason

_HIDDEN = re.compile(r"(?:^|/)(?:\.|(?:__MACOSX|Thumbs\.db|desktop\.ini)(?:/|$))")


@dataclass
class Listing:
    """The images (relative path -> bytes), all folders, and the files of other kinds, of ``source``; hidden ones are left out.

    ``foreign`` says of those others that are images under an ending that is not read here (path -> what it is).
    """

    source: str
    images: dict[str, FileRef] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)

    def add_folder(self, path: str) -> None:
        """Note a folder and those that it lies in."""
        if not is_hidden(path):
            self.folders.update(str(p) for p in [PurePosixPath(path), *PurePosixPath(path).parents] if str(p) != ".")

    def wants(self, path: str, head: Callable[[], bytes]) -> bool:
        """Note a file's folders, and the file itself if it is no image; return whether it is one. ``head`` returns its first bytes."""
        parent = path.rpartition("/")[0]
        if is_hidden(path):
            return False
        if parent and parent not in self.folders:
            self.add_folder(parent)
        if path.lower().endswith(SUFFIXES):
            return True
        self.others.append(path)
        if (what := reason(path, head)) is not None:
            self.foreign[path] = what
        return False


def is_hidden(path: str) -> bool:
    """Return whether a relative path is, or lies in, what file managers and operating systems leave behind."""
    return _HIDDEN.search(path) is not None


def list_folder(root: Path) -> Listing:
    """Walk ``root``; links are followed, one that leads back up is not entered twice."""
    listing = Listing(str(root))
    for folder, names in walk(root):
        relative = "" if folder == root else folder.relative_to(root).as_posix() + "/"
        if relative:
            listing.add_folder(relative.rstrip("/"))
        for name in names:
            if listing.wants(relative + name, partial(_head, folder / name)):
                listing.images[relative + name] = FileRef(str(folder / name))
    return listing


def _head(path: Path) -> bytes:
    """Return the first bytes, none of what is no file (a pipe would be waited for) or may not be read."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder below ``root``, through links, but round no circle, and its files' names.

    Raise ``ValueError`` naming a folder that cannot be listed.
    """
    above: dict[str, frozenset[str]] = {str(root): frozenset({os.path.realpath(root)})}

    def refuse(error: OSError) -> None:
        raise ValueError(f"data.root: {error.filename} cannot be listed ({error.strerror}).")

    for folder, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        inside = above.pop(folder)
        entered = []
        for name in sorted(folders):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if real not in inside:
                above[path] = inside | {real}
                entered.append(name)
        folders[:] = entered
        yield Path(folder), sorted(names)
