"""Texts of every kind, prepared; what is wrong with one is said in a line that names the file or the key."""

import hashlib
import io
import json
import math
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from darts_core.config import DataSection
from darts_core.data import open_prepared, open_text, prepare
from darts_core.data.python_docs import prose

LINES = [f"the cat number {n} sat on the mat" for n in range(20)]


def prepared(out, **options):
    metrics = prepare(DataSection.model_validate({"valid_fraction": 0.1, **options}), out)
    return open_text(out), metrics


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_one_file_is_divided_in_order(tmp_path, corpus):
    text, metrics = prepared(tmp_path / "out", name="text", root=str(corpus), test_fraction=0.2)
    tokens = text.vocabulary().tokens
    assert set(tokens) == {"the", "cat", "number", "sat", "on", "mat", "<eos>", "<unk>"}, "each number comes once, so none is known"
    decoded = [tokens[i] for i in text.train().tolist()]
    assert decoded[:9] == ["the", "cat", "number", "<unk>", "sat", "on", "the", "mat", "<eos>"]
    assert [len(part()) // 9 for part in (text.train, text.valid, text.test)] == [14, 2, 4]
    assert (text.spec.vocab_size, text.spec.unit, text.spec.unknown["test"]) == (8, "word", 4)
    assert metrics["unknown_test_percent"] == pytest.approx(100 / 9)
    assert metrics["tokens_train"] == 14 * 9


def test_a_folder_has_its_own_parts_and_the_vocabulary_is_the_training_text_s(tmp_path):
    for name, line in (("train.txt", "a a b b"), ("val.txt", "a c c"), ("test.txt", "b d d d")):
        (tmp_path / name).write_text(line, encoding="utf-8")
    text, _ = prepared(tmp_path / "out", name="text", root=str(tmp_path), min_count=1, valid_fraction=0.3)
    assert set(text.vocabulary().tokens) == {"a", "b", "<eos>", "<unk>"}
    assert [len(part()) for part in (text.train, text.valid, text.test)] == [5, 4, 5]


def test_characters_and_bits(tmp_path, corpus):
    text, _ = prepared(tmp_path / "out", name="text", root=str(corpus), unit="character")
    assert text.spec.tokens["test"] == len("\n".join(LINES[-2:])) + 1
    assert text.spec.bits_per_character(math.log(2.0), "test") == pytest.approx(1.0)
    assert "\n" in text.vocabulary().tokens
    words, _ = prepared(tmp_path / "words", name="text", root=str(corpus))
    assert words.spec.characters["test"] == len("\n".join(LINES[-2:])) + 1
    assert words.spec.bits_per_character(1.0, "test") == pytest.approx(18 / words.spec.characters["test"] / math.log(2.0))


def test_alpha_gets_a_piece_of_the_training_text_or_the_validation_text_as_in_the_paper(tmp_path, corpus):
    text, _ = prepared(tmp_path / "out", name="text", root=str(corpus))
    weights, alpha = text.search_splits(0.75)
    assert torch.equal(torch.cat([weights, alpha]), text.train())
    assert len(weights) == round(0.75 * len(text.train()))
    assert len(text.search_splits(0.5, fraction=0.5)[0]) == round(len(text.train()) / 4)
    paper, _ = prepared(tmp_path / "paper", name="text", root=str(corpus), reference_split=True)
    weights, alpha = paper.search_splits(0.75)
    assert torch.equal(weights, paper.train())
    assert torch.equal(alpha, paper.valid())
    assert text.spec.content_hash == paper.spec.content_hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"corpus.txt is empty"),
        (b" \n\n", r"corpus.txt is empty"),
        (b"\x00\x01\xff\xfe binary", r"corpus.txt is binary, or not utf-8 text"),
        (b"zero \x00 bytes", r"corpus.txt is binary \(it holds zero bytes\)"),
        (
            "Zeilen ohne Marke, grün\n".encode("utf-16-le"),
            r"corpus.txt is binary, or not utf-8 text .* as in utf-16-le: set data.encoding: utf-16-le, or save it as utf-8\.",
        ),
        (
            "one line\n".encode("utf-16-be"),
            r"corpus.txt is binary \(it holds zero bytes\)\. .* as in utf-16-be: set data.encoding: utf-16-be",
        ),
        (b"\0" * 40, r"corpus.txt is binary \(it holds zero bytes\). Expected plain text.$"),
        ("grüße".encode("latin-1"), r"corpus.txt is not utf-8 text \(byte 2\). .*data.encoding"),
        (
            b"one line",
            "one single line, and a text is divided between its lines. Break it into lines, .* train.txt, valid.txt and test.txt",
        ),
        (b"three\nshort\nlines", r"too few lines for a test text. Give more of it, or change data.test_fraction\."),
        (b"\n".join(b"%d" % n for n in range(40)), "all of it is <unk>"),
    ],
)
def test_bad_files_are_refused_by_name_and_the_earlier_output_stays(tmp_path, corpus, content, message):
    out = tmp_path / "out"
    prepared(out, name="text", root=str(corpus), vocabulary_size=None)
    before = (out / "spec.json").read_text()
    corpus.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepared(out, name="text", root=str(corpus), unit="character" if content[:1].isalpha() else "word")
    assert (out / "spec.json").read_text() == before


def test_a_training_text_of_one_line_is_taken_where_nothing_is_cut_off_it(tmp_path):
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_text("the cat sat on the mat", encoding="utf-8")
    with pytest.raises(ValueError, match="one single line"):
        prepared(tmp_path / "out", name="text", root=str(tmp_path), min_count=1)
    (tmp_path / "valid.txt").write_text("the cat", encoding="utf-8")
    text, _ = prepared(tmp_path / "out", name="text", root=str(tmp_path), min_count=1)
    assert text.spec.tokens == {"train": 7, "valid": 3, "test": 7}


def test_bad_options_are_refused(tmp_path, corpus):
    for options, message in (
        ({"root": str(tmp_path / "nowhere")}, r"data.root: .*nowhere cannot be read"),
        ({"root": str(corpus), "encoding": "klingon"}, r"data.encoding: no encoding is called 'klingon'"),
        ({"root": str(corpus), "vocabulary_size": 2}, r"data.vocabulary_size must be at least 3"),
        ({"root": str(corpus), "min_count": 0}, r"data.min_count must be at least 1"),
        ({"root": str(corpus), "valid_fraction": 0.0}, r"no validation text. The averaging of weights and the best epoch follow it"),
        (
            {"root": str(corpus), "valid_fraction": 0.6, "test_fraction": 0.5},
            r"data.valid_fraction \(0.6\) and data.test_fraction \(0.5\) must leave .*: below 1 in all expected. Got 1.1\.",
        ),
        ({"root": str(corpus), "valid_fraction": 0.01}, r"too few lines for a validation text.*change data.valid_fraction\."),
        (
            {"root": str(corpus), "valid_fraction": 0.88},
            r"too few lines for a training text.*change data.valid_fraction or data.test_fraction",
        ),
        ({"root": str(corpus.parent)}, r"has no file train.txt"),
    ):
        with pytest.raises(ValueError, match=message):
            prepared(tmp_path / "out", name="text", **options)
    latin = tmp_path / "latin.txt"
    latin.write_bytes("\n".join(["grüße grüße"] * 20).encode("latin-1"))
    text, _ = prepared(tmp_path / "out", name="text", root=str(latin), encoding="latin-1")
    assert "grüße" in text.vocabulary().tokens


def treebank(folder, pattern="ptb.{}.txt"):
    folder.mkdir(parents=True)
    for part, lines in (("train", 8), ("valid", 2), ("test", 3)):
        (folder / pattern.format(part)).write_text(" aer banknote <unk> N 's\n" * lines, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("name", "pattern"), [("penn_treebank", "ptb.{}.txt"), ("wikitext2", "wiki.{}.tokens"), ("wikitext2", "{}.txt")])
def test_the_paper_s_texts_from_their_files(tmp_path, name, pattern):
    text, _ = prepared(tmp_path / "out", name=name, root=str(treebank(tmp_path / "raw", pattern)))
    assert text.spec.vocab_size == 6
    assert [text.spec.tokens[part] for part in ("train", "valid", "test")] == [48, 12, 18]
    assert text.spec.unknown["train"] == 8


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_an_archive_is_fetched_and_verified_and_leads_nowhere_else(tmp_path, kind):
    raw, archive = treebank(tmp_path / "raw"), tmp_path / f"archive.{kind}"
    names = [f"../../simple/data/{path.name}" for path in sorted(raw.iterdir())]
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as out:
            for name, path in zip(names, sorted(raw.iterdir()), strict=True):
                out.writestr(name, path.read_bytes())
    else:
        with tarfile.open(archive, "w:gz") as out:
            for name, path in zip(names, sorted(raw.iterdir()), strict=True):
                info = tarfile.TarInfo(name)
                info.size = path.stat().st_size
                out.addfile(info, io.BytesIO(path.read_bytes()))
    options = {"name": "penn_treebank", "root": str(tmp_path / "fetched"), "url": archive.as_uri()}
    with pytest.raises(
        ValueError, match=r"another file than expected: sha256 [0-9a-f]{64} instead of 00.*If you trust what is there, data.sha256"
    ):
        prepared(tmp_path / "out", **options, sha256="00")
    text, _ = prepared(tmp_path / "out", **options, sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    assert text.spec.tokens["train"] == 48
    assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == ["ptb.test.txt", "ptb.train.txt", "ptb.valid.txt"]


def test_what_cannot_be_fetched_is_said(tmp_path):
    nothing = {"name": "penn_treebank", "root": str(tmp_path / "raw")}
    for options, message in (
        ({"url": None}, r"has no file ptb.train.txt or train.txt. Put it there"),
        ({"url": None, "sha256": "00"}, r"data.sha256 is of the archive at data.url, which is null"),
        ({"sha256": "00"}, r"data.sha256 is of the archive at data.url, which is a folder: https://.*/"),
        ({"url": (tmp_path / "none.zip").as_uri()}, r"data.url: .* cannot be fetched"),
        ({"url": "nonsense"}, r"data.url: nonsense cannot be fetched"),
    ):
        with pytest.raises(ValueError, match=message):
            prepared(tmp_path / "out", **nothing, **options)
    (tmp_path / "page.html").write_text("<html>")
    with pytest.raises(ValueError, match=r"is no .zip or .tar archive"):
        prepared(tmp_path / "out", **nothing, url=(tmp_path / "page.html").as_uri())


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(8, 1, r"data.url: the archive .* is encrypted \('ptb"), (10, 99, r"is damaged \(That compression method")],
)  # flags, and method of compression
def test_an_archive_that_nobody_can_open(tmp_path, offset, value, message):
    archive = Path(shutil.make_archive(str(tmp_path / "texts"), "zip", treebank(tmp_path / "raw")))
    data = bytearray(archive.read_bytes())
    for header, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):  # of the first member, in the directory and ahead of its bytes
        data[data.index(header) + offset + shift] = value
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path / "out", name="penn_treebank", root=str(tmp_path / "fetched"), url=archive.as_uri())


def test_python_s_documentation_is_prose_without_markup_and_nothing_twice(tmp_path):
    topic = """The "while" statement
*********************

The *while* statement is used as long as an expression is **true** [1]:

   while_stmt ::= "while" assignment_expression ":" suite

   >>> while True: print("a b c d e f g h")

* This is a bullet that says something
  over two lines.

+-----+-----+
| a   | b   |
"""
    while_, other = (
        "The while statement is used as long as an expression is true:",
        "This is a bullet that says something over two lines.",
    )
    assert prose({"while": topic}) == [[while_, other]]
    assert prose({"a": topic, "b": topic + "\n\nA sentence that stands in the second one alone.\n"})[1] == [
        "A sentence that stands in the second one alone."
    ]
    text, metrics = prepared(tmp_path / "out", name="python_docs")
    assert 40_000 < metrics["tokens_train"] < 70_000
    assert 1_000 < metrics["vocab_size"] < 4_000
    assert metrics["unknown_test_percent"] < 6.0
    again, _ = prepared(tmp_path / "again", name="python_docs")
    assert again.spec == text.spec


def test_prepared_text_is_not_prepared_images(tmp_path, corpus):
    prepared(tmp_path / "out", name="text", root=str(corpus))
    with pytest.raises(ValueError, match=r"schema_version|keys"):
        open_prepared(tmp_path / "out")
    prepare(DataSection.model_validate({"name": "text", "root": str(corpus)}), tmp_path / "out")
    (tmp_path / "out" / "trainval" / "train.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train.npy cannot be read"):
        open_text(tmp_path / "out").train()
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    (tmp_path / "out" / "spec.json").write_text(json.dumps({key: value for key, value in spec.items() if key != "kind"}))
    with pytest.raises(ValueError, match=r"text expected. Got prepared images"):
        open_text(tmp_path / "out")


def test_the_end_of_an_empty_line_is_a_character_and_that_of_another_its_last_word_s(tmp_path):
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_text("ab cd <eos> ef\ngh <eos>\n<eos>\n", encoding="utf-8")
    text, _ = prepared(tmp_path / "out", name="text", root=str(tmp_path), min_count=1)
    assert text.spec.tokens["test"] == 8  # ab cd . ef . gh . .
    assert text.spec.characters["test"] == len("ab cd\nef\ngh\n\n")


def test_characters_are_the_text_s_also_where_no_space_parts_the_words(tmp_path):
    (tmp_path / "train.txt").write_text("我们去北京。\n" * 4 + "Well,  don't!\n" * 4, encoding="utf-8")
    for name in ("valid.txt", "test.txt"):
        (tmp_path / name).write_text("我们去北京。\nWell,  don't!\na <eos> <eos> b\n", encoding="utf-8")
    text, _ = prepared(tmp_path / "out", name="text", root=str(tmp_path))
    assert text.spec.tokens["test"] == (6 + 1) + (4 + 1) + 5
    assert text.spec.characters["test"] == len("我们去北京。\nWell, don't!\na\n\nb\n")


@pytest.mark.parametrize(("encoding", "named"), [("utf-16", "utf-16"), ("utf-32", "utf-32")])
@pytest.mark.parametrize("read_as", ["utf-8", "latin-1"])
def test_the_mark_of_another_encoding_is_named(tmp_path, encoding, named, read_as):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES), encoding=encoding)
    with pytest.raises(
        ValueError, match=rf"corpus\.txt is .* Its first bytes are the mark of {named}: set data\.encoding: {named}, or save"
    ):
        prepared(tmp_path / "out", name="text", root=str(path), encoding=read_as)
    text, _ = prepared(tmp_path / "right", name="text", root=str(path), encoding=named)
    assert "cat" in text.vocabulary().tokens


def test_a_script_without_spaces_is_told(tmp_path, caplog):
    path = tmp_path / "thai.txt"
    path.write_text("ภาษาไทยเป็นภาษา\nแมวนั่งบนเสื่อ\n" * 20, encoding="utf-8")
    prepared(tmp_path / "out", name="text", root=str(path))
    assert "Set data.unit: character, or put spaces between the words." in caplog.text
    caplog.clear()
    prepared(tmp_path / "characters", name="text", root=str(path), unit="character")
    assert not caplog.text
