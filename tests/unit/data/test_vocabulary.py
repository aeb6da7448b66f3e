"""Text -> tokens -> numbers."""

import pytest

from darts_core.data.vocabulary import Vocabulary, characters, separated_words, words


def test_words_marks_and_markers_are_tokens():
    assert words("It's <unk>, isn’t it?") == ["It's", "<unk>", ",", "isn’t", "it", "?", "<eos>"]
    assert separated_words(" the N 's <unk> ") == ["the", "N", "'s", "<unk>", "<eos>"]
    assert characters("ab") == ["a", "b", "\n"]


def test_rare_tokens_become_unknown_and_the_frequent_come_first():
    vocabulary = Vocabulary.of(["b", "b", "b", "a", "a", "c", "c", "d"], size=None, min_count=2)
    assert vocabulary.tokens == ("b", "a", "c", "<unk>")
    assert vocabulary.encode(["c", "d", "never seen", "b"]).tolist() == [2, 3, 3, 0]


def test_the_size_counts_the_unknown_token_and_keeps_the_most_frequent():
    vocabulary = Vocabulary.of(["b", "b", "b", "a", "a", "c", "c", "d"], size=3, min_count=1)
    assert vocabulary.tokens == ("<unk>", "b", "a")  # c, c and d are unknown: as many as b, which sorts later


def test_a_text_with_unknowns_of_its_own_keeps_its_vocabulary():
    vocabulary = Vocabulary.of(["the", "<unk>", "the", "N"], size=None, min_count=1)
    assert vocabulary.tokens == ("the", "<unk>", "N")


def test_it_comes_back_from_its_file(tmp_path):
    vocabulary = Vocabulary.of(["ä", "ä", "\n"], size=None, min_count=1)
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    (tmp_path / "v.json").write_text("{}")
    with pytest.raises(ValueError, match="schema_version 1"):
        Vocabulary.load(tmp_path / "v.json")
