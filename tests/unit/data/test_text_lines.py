"""Where the lines of a text end, and parts that hold the same ones."""

from tests.unit.data.test_prepare_text import prepared


def test_lines_of_a_published_text_end_as_in_its_file(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"wiki.{part}.tokens").write_text(" \n = A = \n \n one\u2028two \x0c three \n" * 40 + "four", encoding="utf-8")
    text, _ = prepared(tmp_path / "out", name="wikitext2", root=str(folder))
    assert text.spec.tokens["train"] == 40 * (1 + 4 + 1 + 4) + 2, "what Python's splitlines takes for an end is white space here"


def test_parts_of_the_same_text_are_warned_of(tmp_path, caplog):
    folder = tmp_path / "raw"
    folder.mkdir()
    for part, words in (("train", "one two three"), ("valid", "four five six"), ("test", "four five six")):
        (folder / f"{part}.txt").write_text(f"{words}\n" * 40)
    prepared(tmp_path / "out", name="text", root=str(folder))
    assert [record.message.partition(" in ")[0] for record in caplog.records] == ["data.root: test.txt and valid.txt"]


def test_of_characters_none_is_left_out(tmp_path):
    code = "def f(x):\n\n    return x  # twice\n\tend\x0c\n" * 30
    path = tmp_path / "code.txt"
    path.write_text(code, newline="\r\n")
    text, _ = prepared(tmp_path / "out", name="text", root=str(path), unit="character", min_count=1)
    assert sum(text.spec.tokens.values()) == sum(text.spec.characters.values()) == len(code)
    vocabulary = text.vocabulary().tokens
    told = "".join(vocabulary[n] for part in (text.train(), text.valid(), text.test()) for n in part.tolist())
    assert told == code
