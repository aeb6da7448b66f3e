"""Folders -> classes and splits: ``class/`` or ``train|val|test/class/``, at the top or inside one wrapping folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darts_core.data.decode import SUFFIXES
from darts_core.data.foreign import endings
from darts_core.data.listing import Listing

_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
_ORDER = {"": 0, "train": 0, "valid": 1, "test": 2}
_EXPECTED = "Expected <class>/<image> or train|val|test/<class>/<image>."


@dataclass(frozen=True)
class Entry:
    """One image: its path in the listing, class number, and split ("" where the folders do not say)."""

    path: str
    label: int
    part: str


@dataclass(frozen=True)
class Layout:
    """Class names, sorted, and the images, ordered by split, class and path.

    ``foreign`` are the files in class folders that are images but cannot be read: path, and what is wrong with it.
    """

    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    foreign: tuple[tuple[str, str], ...] = ()


def read_layout(listing: Listing) -> Layout:
    """Understand the folders of ``listing``. Raise ``ValueError`` that says which folder is not as expected."""
    where = f"data.root: {listing.source}"
    if not listing.images:
        raise ValueError(
            f"{where} holds no images ({len(listing.others)} files of other kinds{_unread(list(listing.foreign))}). {_EXPECTED} "
            f"Known endings: {', '.join(SUFFIXES)}."
        )
    prefix = _descend(listing)
    tops = _children(listing.folders, prefix)
    parts = {top: _SPELLINGS[top.lower()] for top in tops if top.lower() in _SPELLINGS}
    if not parts:
        groups = {"": prefix}
    else:
        _check_parts(parts, tops, where=where)
        groups = {part: f"{prefix}{top}/" for top, part in parts.items()}
    loose = [path for path in listing.images if any(_in_no_class(path, group) for group in [prefix, *groups.values()])]
    if loose:
        raise ValueError(f"{where}: {len(loose)} images lie in no class folder: {_some(loose)}. {_EXPECTED}")
    return _entries(listing, groups, where=where)


def _entries(listing: Listing, groups: dict[str, str], *, where: str) -> Layout:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    foreign: dict[str, list[str]] = defaultdict(list)
    for part, prefix in groups.items():
        for folder in _children(listing.folders, prefix):
            found[part, folder] = []
    for path in listing.images:
        for part, prefix in groups.items():
            if path.startswith(prefix):
                found[part, path[len(prefix) :].partition("/")[0]].append(path)
                break
    for path in listing.foreign:
        for prefix in groups.values():
            if path.startswith(prefix) and not _in_no_class(path, prefix):
                foreign[prefix + path[len(prefix) :].partition("/")[0]].append(path)
                break
    empty = sorted(groups[part] + folder for (part, folder), paths in found.items() if not paths)
    if empty:
        named, strange = _some(empty), [path for folder in empty for path in foreign[folder]]
        advice = f" Convert them to one of {', '.join(SUFFIXES)}, add images, or" if strange else " Add images, or"
        raise ValueError(f"{where}: no image in the class folder {named}{_unread(strange)}.{advice} remove the folder.")
    first = "train" if "train" in groups else ""
    classes = sorted(folder for part, folder in found if part == first)
    unknown = sorted(groups[part] + folder for part, folder in found if folder not in classes)
    if unknown:
        raise ValueError(f"{where}: {_some(unknown)} is a class that train/ does not have. Classes there: {_some(classes)}.")
    if len(classes) < 2:
        raise ValueError(f"{where} holds one class only ('{classes[0]}'); telling classes apart needs at least two. {_EXPECTED}")
    number = {folder: k for k, folder in enumerate(classes)}
    ordered = sorted(found.items(), key=lambda item: (_ORDER[item[0][0]], number[item[0][1]]))
    entries = tuple(Entry(path, number[folder], part) for (part, folder), paths in ordered for path in sorted(paths))
    unread = tuple((path, listing.foreign[path]) for paths in foreign.values() for path in paths)
    return Layout(tuple(printable(folder) for folder in classes), entries, unread)


def _descend(listing: Listing) -> str:
    """Return the prefix of the folder that holds the classes or splits: archives often wrap everything in one more folder."""
    prefix = ""
    while True:
        children = _children(listing.folders, prefix)
        if len(children) != 1 or children[0].lower() in _SPELLINGS or any(_in_no_class(path, prefix) for path in listing.images):
            return prefix
        inner = f"{prefix}{children[0]}/"
        if not _children(listing.folders, inner):
            return prefix
        prefix = inner


def _check_parts(parts: dict[str, str], tops: Sequence[str], *, where: str) -> None:
    if "train" not in parts.values():
        raise ValueError(f"{where} has {_some(parts)} but no train/. {_EXPECTED} Rename the folder if it is a class.")
    others = [top for top in tops if top not in parts]
    if others:
        raise ValueError(f"{where} has {_some(others)} beside {_some(parts)}: classes and splits are mixed. {_EXPECTED}")
    if len(set(parts.values())) < len(parts):
        raise ValueError(f"{where} has two folders for one split among {_some(parts)}. Keep one of each.")


def _children(folders: Iterable[str], prefix: str) -> list[str]:
    return sorted(folder[len(prefix) :] for folder in folders if folder.startswith(prefix) and "/" not in folder[len(prefix) :])


def _in_no_class(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and "/" not in path[len(prefix) :]


def _some(names: Iterable[str]) -> str:
    names = [f"'{printable(name)}'" for name in names]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _unread(paths: list[str]) -> str:
    return f"; {len(paths)} files are images of an ending that cannot be read here ({endings(paths)})" if paths else ""


def printable(name: str) -> str:
    """Return a path that can be printed: bytes that are not UTF-8 become a question mark in a box."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
