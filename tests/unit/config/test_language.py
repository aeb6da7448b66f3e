"""params.yaml of a language model: its own sections, and what belongs to images is a fault in them, and the other way round."""

import pytest

from darts_core.components import COMPONENTS, cross_check
from darts_core.config import Config, ConfigError, TextConfig, from_mapping
from darts_core.config.language import LEAST_BPTT
from darts_core.pipeline.idle import without_effect

TEXT = {"data": {"name": "python_docs"}, "space": {"name": "darts_rnn"}}


def read(**sections):
    return from_mapping({**TEXT, **sections}, components=COMPONENTS, cross_check=cross_check)


def test_the_space_tells_a_text_from_images():
    cfg = read(retrain={"hidden": 50}, augment=None)
    assert isinstance(cfg, TextConfig)
    assert (cfg.retrain.hidden, cfg.retrain.bptt, cfg.retrain.lr, cfg.augment) == (50, 35, 20.0, None)
    assert type(from_mapping({"data": {"name": "digits"}}, components=COMPONENTS)) is Config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"retrain": {"layers": 3}}, r"retrain.layers: not a known key.*Known: epochs, batch_size, bptt, hidden"),
        ({"retrain": {"hiden": 3}}, r"retrain.hiden: not a known key \(did you mean 'hidden'\?\)"),
        ({"retrain": {"bptt": LEAST_BPTT - 1}}, r"retrain.bptt: must be at least 5: no window is drawn shorter, .* Got 4\."),
        ({"space": {"name": "darts_rnn", "bptt": LEAST_BPTT - 1}}, r"space.bptt must be at least 5, .* Got 4\."),
        (
            {"search": {"batch_size": 1}},
            r"search.batch_size must be at least 2 with space.name: darts_rnn: its BatchNorm needs more than one sequence\. Got 1\.",
        ),
        ({"evaluate": {"calibration_bins": 3}}, r"evaluate.calibration_bins: not a known key"),
        ({"augment": {"flip": True}}, "augment: is about images"),
        ({"search": {"cutout": True}}, "search: cutout is about images"),
        ({"data": {"name": "python_docs", "split_seed": 1}}, r"data.split_seed: not an option of data set 'python_docs'"),
        ({"data": {"name": "digits"}}, r"data.name: digits is images, .*Expected one of: penn_treebank, python_docs, text, wikitext2"),
        ({"space": {"name": "darts_cnn"}}, r"data.name: python_docs is text, and space.name: darts_cnn is for images"),
        ({"retrain": {"baselines": ["resnet20"]}}, r"retrain.baselines: no baseline of a language model is called 'resnet20'"),
        ({"retrain": {"baselines": ["lstm", "lstm"]}}, r"retrain.baselines: names a network twice"),
        ({"data": {"name": "python_docs", "valid_fraction": 0.0}}, r"data.valid_fraction must be above 0 .* Got 0\. Set it to 0.1, say"),
        (
            {"data": {"name": "python_docs", "valid_fraction": 0.3, "test_fraction": 0.7}},
            r"data.valid_fraction and data.test_fraction must leave something to learn from: below 1 in all expected\. Got 0.3 and 0.7\.",
        ),
        ({"data": {"name": "python_docs", "unit": "sentence"}}, r"data.unit: must be 'word' or 'character'"),
    ],
)
def test_what_belongs_to_images_is_a_fault(sections, message):
    with pytest.raises(ConfigError, match=message):
        read(**sections)


def test_a_window_s_usual_length_may_be_the_least_that_is_drawn():
    cfg = read(retrain={"bptt": LEAST_BPTT}, space={"name": "darts_rnn", "bptt": LEAST_BPTT})
    assert cfg.retrain.bptt == cfg.space.options["bptt"] == LEAST_BPTT


@pytest.mark.parametrize(
    "sections", [{"method": {"name": "random_search", "shared_weights": False}}, {"derive": {"genotype": "DARTS_RNN_V2"}}]
)
def test_a_single_sequence_will_do_where_no_supernet_is_trained(sections):
    assert read(search={"batch_size": 1}, **sections).search.batch_size == 1


def test_settings_that_nothing_reads_are_told():
    cfg = read(
        data={"name": "python_docs", "reference_split": True},
        search={"train_portion": 0.5},
        retrain={"epochs": 4, "nonmono": 3},
        runtime={"num_workers": 2},
    )
    assert [line.partition(":")[0] for line in without_effect(cfg)] == ["search.train_portion", "retrain.nonmono", "runtime.num_workers"]
    assert without_effect(read()) == []


@pytest.mark.parametrize(
    ("given", "rates"),
    [({}, (20.0, 20.0)), ({"lr": 5.0}, (5.0, 5.0)), ({"lr": 5.0, "lr_min": 1.0}, (5.0, 1.0)), ({"lr_min": 2.0}, (20.0, 2.0))],
)
def test_what_is_left_out_of_a_search_is_the_recurrent_reference_s(given, rates):
    text = read(search=given).search
    assert (text.lr, text.lr_min) == rates
    assert (text.momentum, text.weight_decay, text.grad_clip, text.arch_lr, text.arch_weight_decay) == (0.0, 5e-7, 0.25, 3e-3, 1e-3)


def test_a_rate_does_not_rise():
    with pytest.raises(ConfigError, match=r"search\.lr_min: must not exceed lr \(5\.0\)\. Got 6\.0"):
        read(search={"lr": 5.0, "lr_min": 6.0})
