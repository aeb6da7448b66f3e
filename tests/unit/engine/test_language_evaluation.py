"""The one look at the test text: numbers beside independent ones, on uniform and on trained-looking models."""

import csv
import json
import math

import pytest
import torch

from darts_core.config import TextEvaluateConfig
from darts_core.data import TextSpec, columns
from darts_core.data.windows import Windows
from darts_core.engine.language_evaluation import evaluate_language, read_text
from darts_core.nets.dropout import Dropout
from darts_core.nets.language_model import LanguageModel
from darts_core.nets.lstm import Lstm
from darts_core.report.language import plot_perplexities
from darts_core.report.table import LANGUAGE_COLUMNS, comparison_text, language_note

TEXT = torch.arange(400).square() % 7
TOKENS = ("the", ",", "\n", '"', "<unk>", "a", "never")
SIZES = {"train": 400, "valid": 400, "test": 400}
SPEC = TextSpec("text", "word", 7, SIZES, {part: 5 * n for part, n in SIZES.items()}, {"train": 0, "valid": 8, "test": 30}, False, "0" * 64)


def model(seed, *, scale=1.0):
    torch.manual_seed(seed)
    network = LanguageModel(Lstm(4), num_tokens=7, dropout=Dropout(outputs=0.5), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        network.bias.copy_(scale * torch.randn(7))
        network.embedding.weight.mul_(scale)
    return network


def text(window=10):
    return Windows(columns(TEXT, 4, window), window)


def test_an_even_guess_has_the_vocabulary_as_perplexity(tmp_path):
    networks = {"lstm": model(0, scale=0.0), "searched": model(1, scale=0.0), "random_0": model(2, scale=0.3)}
    found = evaluate_language(networks, text(), text(), spec=SPEC, cfg=TextEvaluateConfig(bootstrap_samples=200), tokens=TOKENS, seed=0)
    own, lstm, random = found.scores
    assert [row.name for row in found.scores] == ["searched", "lstm", "random_0"]
    assert (own.test_ppl, own.valid_ppl, own.low, own.high) == pytest.approx((7.0, 7.0, 7.0, 7.0))
    assert own.test_bpc == pytest.approx(math.log2(7.0) / 5.0)
    assert (own.ratio, lstm.ratio) == (None, pytest.approx(1.0))
    assert random.ratio == pytest.approx(random.test_ppl / 7.0)
    assert random.ratio_low < random.ratio < random.ratio_high
    assert found.vs_random == pytest.approx(100.0 * (random.test_ppl - 7.0) / random.test_ppl)
    found.save(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test_ppl"] == pytest.approx(7.0)
    assert metrics["unknown_test_percent"] == pytest.approx(7.5)
    assert metrics["random_0_ppl_ratio"] == pytest.approx(random.ratio)
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["searched", "lstm", "random_0"]
    assert rows[0]["ratio"] == ""
    bars = list(csv.DictReader((tmp_path / "scores" / "test_perplexity.csv").read_text().splitlines()))
    assert bars == [{"name": row["name"], "value": row["test_ppl"]} for row in rows]
    assert (tmp_path / "predictions.csv").read_text() == "index,label,prediction,confidence\n", "the columns that dvc.yaml plots of images"
    assert plot_perplexities(found.scores, tmp_path / "c.png").stat().st_size > 5_000
    lines = comparison_text(found.scores, LANGUAGE_COLUMNS).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert "7.00 to 7.00" in lines[2]


def test_the_note_says_what_unknown_tokens_do_to_the_numbers():
    assert " 7.5 % of the test tokens are <unk>: a model pays for the one token" in language_note(7.5)
    assert " Less than 0.1 % of the test tokens are <unk>" in language_note(0.01)
    assert "<unk>" not in language_note(0.0)


def test_the_note_names_what_went_back_in_training():
    note = language_note(0.0, {"searched": (), "lstm": (3, 7), "random_0": (2,)})
    assert "set back to the best epoch before: lstm in epoch 3, 7; random_0 in epoch 2." in note
    assert "searched in" not in note
    assert language_note(0.0, {"searched": (), "lstm": ()}) == language_note(0.0)


def test_losses_do_not_depend_on_the_windows_and_have_no_dropout():
    network = model(3)
    network.train()
    short, long = (read_text(network, text(window), name="x") for window in (3, 10))
    assert short.nll_W.sum() == pytest.approx(long.nll_W.sum(), rel=1e-6)
    assert short.count_W.sum() == long.count_W.sum() == 4 * 99


def test_what_each_token_costs_is_told_worst_first(tmp_path):
    networks = {"searched": model(3, scale=0.0), "lstm": model(4, scale=0.0)}
    with torch.no_grad():
        networks["lstm"].bias[torch.tensor([4])] = 2.0
    found = evaluate_language(networks, text(), text(), spec=SPEC, cfg=TextEvaluateConfig(bootstrap_samples=20), tokens=TOKENS, seed=0)
    found.save(tmp_path)
    with (tmp_path / "per_token.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = columns(TEXT, 4, 10)[1:].flatten().tolist()  # squares modulo 7: 0, 1, 2 and 4 alone
    assert {row["token"]: int(row["count"]) for row in rows} == {TOKENS[v]: told.count(v) for v in (0, 1, 2, 4)}
    assert [int(row["count"]) for row in rows] == sorted((int(row["count"]) for row in rows), reverse=True), "each costs the same"
    assert sum(float(row["percent_of_nats"]) for row in rows) == pytest.approx(100.0, abs=0.01)
    norm = math.log(6.0 + math.exp(2.0))
    for row in rows:
        assert float(row["searched_nll"]) == pytest.approx(math.log(7.0))
        assert float(row["lstm_nll"]) == pytest.approx(norm - (2.0 if row["token"] == "<unk>" else 0.0), rel=1e-6)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ValueError, match="a network called 'searched' is needed"):
        evaluate_language({"lstm": model(0)}, text(), text(), spec=SPEC, cfg=TextEvaluateConfig(), tokens=TOKENS, seed=0)
    broken = model(0)
    broken.bias.data[0] = math.nan
    with pytest.raises(ValueError, match="Network 'searched': its predictions must be finite"):
        evaluate_language({"searched": broken}, text(), text(), spec=SPEC, cfg=TextEvaluateConfig(), tokens=TOKENS, seed=0)
