"""Text -> tokens -> numbers."""

import pytest

from darts_core.data.vocabulary import Vocabulary, characters, is_spaceless, separated_words, words


def test_words_marks_and_markers_are_tokens():
    assert words("It's <unk>, isn’t it?") == ["It's", "<unk>", ",", "isn’t", "it", "?", "<eos>"]
    assert separated_words(" the N 's <unk> ") == ["the", "N", "'s", "<unk>", "<eos>"]
    assert characters("ab") == ["a", "b", "\n"]


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("हिन्दी में लिखा है।", ["हिन्दी", "में", "लिखा", "है", "।"]),
        ("ภาษาไทย เป็น", ["ภาษาไทย", "เป็น"]),
        ("cafe\u0301 l\u2019e\u0301te\u0301", ["cafe\u0301", "l\u2019e\u0301te\u0301"]),
        ("می\u200cخواهم بروم", ["می\u200cخواهم", "بروم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("日本語のOKテスト。", ["日", "本", "語", "の", "OK", "テ", "ス", "ト", "。"]),
        ("中文3.5", ["中", "文", "3", ".", "5"]),
        ("ä <unk> x", ["ä", "<unk>", "x"]),
        ("\u2764\ufe0f!", ["\u2764\ufe0f", "!"]),
    ],
)
def test_words_of_other_scripts_are_whole_and_cjk_characters_are_words(line, tokens):
    assert words(line) == [*tokens, "<eos>"]


def test_ascii_lines_are_read_as_all_others():
    line = "It's <unk>, isn't it? 3.5 a_b <x y>"
    assert words(line) == words("ä " + line)[1:]


@pytest.mark.parametrize("tokenise", [words, separated_words])
def test_an_end_that_is_written_out_is_one_end(tokenise):
    assert tokenise("a b <eos>") == ["a", "b", "<eos>"]
    assert tokenise("a <eos> b") == ["a", "<eos>", "b", "<eos>"]
    assert tokenise("<eos>") == tokenise("") == ["<eos>"]


def test_scripts_without_spaces_are_known():
    assert is_spaceless(words("ภาษาไทย"))
    assert not is_spaceless(["ไทย", *["word"] * 20])
    assert not is_spaceless(words("日本語 हिन्दी plain"))


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
