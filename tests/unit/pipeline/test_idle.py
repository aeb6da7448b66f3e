"""Settings without effect are told of, by darts check and by the first stage, and none where they have one."""

import logging
from importlib.resources import files
from types import SimpleNamespace

import pytest

from darts_core.cli import main
from darts_core.components import load_params
from darts_core.config import Config
from darts_core.pipeline import prepare
from darts_core.pipeline.idle import without_effect

PRESETS = sorted(path for path in files("darts_core").joinpath("presets").iterdir() if path.name.endswith(".yaml"))
PHOTOS = {"name": "image_folder", "root": "photos"}


def config(**sections):
    """A configuration in which everything has an effect, with ``sections`` in place of its own."""
    own = {"data": {"name": "digits"}, "retrain": {"cutout": False}}
    return Config.model_validate({**own, **sections})


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_no_preset_sets_anything_in_vain(path):
    assert without_effect(load_params(path)) == []


IDLE = [
    (
        {"method": {"name": "darts", "stable_epochs": 4, "warmup_epochs": 2}, "search": {"epochs": 5}},
        "method.stable_epochs: 4 has no effect: alpha moves for 3 epochs (search.epochs) in all.",
    ),
    (
        {"method": {"name": "darts_plus"}, "space": {"name": "darts_cnn", "primitives": ["sep_conv_3x3", "avg_pool_3x3"]}},
        "method.name: darts_plus ends no search here: space.primitives has no skip_connect to count.",
    ),
    (
        {"method": {"name": "darts_plus"}, "space": {"name": "s4"}},  # whose own primitives have none
        "method.name: darts_plus ends no search here: space.primitives has no skip_connect to count.",
    ),
    (
        {"method": {"name": "p_darts", "stable_epochs": 3, "warmup_epochs": 2}, "search": {"epochs": 12}},
        "method.stable_epochs: 3 has no effect: alpha moves for 2 epochs in the last phase, a share of search.epochs.",
    ),
    (
        {"method": {"name": "random_search", "shared_weights": False, "samples": 3, "halving": 2}},
        "method.halving: 2 has no effect: of method.samples, 3, fewer than two would be left for a second round. Raise that to 4 or more.",
    ),
    ({"augment": {"cutout_length": 8}}, "augment.cutout_length: 8 has no effect: search.cutout and retrain.cutout are false."),
    (
        {"augment": {"cutout_length": 8}, "search": {"cutout": True}, "derive": {"genotype": "DARTS_V2"}},
        "augment.cutout_length: 8 has no effect: retrain.cutout is false and no search runs.",
    ),
    ({"augment": {"cutout_length": 0}, "search": {"cutout": True}}, "search.cutout: true has no effect: augment.cutout_length is 0."),
    ({"data": {**PHOTOS, "resize": "pad"}}, "data.resize: pad has no effect: data.image_size is null"),
    ({"data": {**PHOTOS, "resize": "pad", "image_size": None}}, "data.resize: pad has no effect: data.image_size is null"),
    (
        {"derive": {"genotype": "DARTS_V2", "rule": "strongest_edges"}},
        "derive.rule: strongest_edges has no effect: derive.genotype is DARTS_V2, so nothing is derived.",
    ),
    ({"data": {"name": "digits", "valid_fraction": 0.0}}, "evaluate.weights: best is the last epoch with data.valid_fraction: 0. Set it"),
    (
        {"data": {**PHOTOS, "valid_fraction": 0.0}},
        "evaluate.weights: best is the last epoch with data.valid_fraction: 0, unless the ",
    ),
    ({"search": {"epochs": 5, "hessian_every": 6}}, "search.hessian_every: 6 has no effect: search.epochs is 5, so the curvature is never"),
    (
        {"method": {"name": "robust_darts"}, "search": {"epochs": 21}},
        "method.name: robust_darts ends no search here: a rise of the eigenvalue shows in epoch 22 at the earliest, and search.epochs is",
    ),
    (
        {"method": {"name": "random_search", "shared_weights": False, "train_epochs": 2}, "search": {"epochs": 3}},
        "search.epochs: 3 has no effect: method.train_epochs is 2.",
    ),
    *(
        (
            {"method": {"name": "random_search", "shared_weights": False}, "search": {key: value}},
            f"search.{key}: {value} has no effect: random_search has no supernet, it trains architectures alone. Set {back}.",
        )
        for key, value, back in (("backend", "native", "auto"), ("memory", "lean", "auto"), ("memory_budget_mib", 9.0, "null"))
    ),
    (
        {"method": {"name": "darts", "arch_gradient": "exact"}, "search": {"memory_budget_mib": 9.0}},
        "search.memory_budget_mib: 9 decides nothing with method.arch_gradient: exact, of which lean would save nothing. Set null.",
    ),
    ({"runtime": {"progress": "bar", "processes": 2}}, "runtime.progress: bar gives lines in retrain: bars of 2 processes"),
]


@pytest.mark.parametrize(("sections", "line"), IDLE)
def test_a_setting_without_effect_is_one_line(sections, line):
    [found] = without_effect(config(**sections))
    assert found.startswith(line)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"augment": {"cutout_length": 8}, "search": {"cutout": True}},
        {"augment": {"cutout_length": 8}, "retrain": {"cutout": True}, "derive": {"genotype": "DARTS_V2"}},
        {"augment": {"cutout_length": 0}},
        {"data": {**PHOTOS, "resize": "pad", "image_size": 32}},
        {"derive": {"rule": "strongest_edges"}},
        {"method": {"name": "random_search", "shared_weights": False, "train_epochs": 2}},
        {"method": {"name": "random_search", "shared_weights": False, "train_epochs": 3}, "search": {"epochs": 3}},
        {"method": {"name": "random_search", "shared_weights": False}, "search": {"epochs": 3}},
        {"search": {"epochs": 6, "hessian_every": 6}},
        {"method": {"name": "robust_darts"}, "search": {"epochs": 22}},
        {"method": {"name": "robust_darts"}, "search": {"epochs": 5, "hessian_every": 6}, "derive": {"genotype": "DARTS_V2"}},
        {"data": {"name": "digits", "valid_fraction": 0.0}, "evaluate": {"weights": "last"}},
        {"runtime": {"progress": "bar"}},
        {"search": {"backend": "native", "memory_budget_mib": 9.0}},
        {"runtime": {"progress": "lines", "processes": 2}},
        {"runtime": {"progress": "bar", "processes": 2}, "retrain": {"cutout": False, "baselines": (), "random_genotypes": 0}},
    ],
)
def test_a_setting_with_an_effect_is_not_told_of(sections):
    assert without_effect(config(**sections)) == []


PARAMS = "data:\n  name: digits\n  valid_fraction: 0.0\nevaluate:\n  weights: best\n"


def test_darts_check_warns_with_the_line_and_still_says_ok(tmp_path, capsys):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: ok\n")
    assert out.splitlines()[-1].startswith(f"{path}:5: warning: evaluate.weights: best is the last epoch")
    path.write_text(PARAMS.replace("best", "last"))
    assert main(["check", str(path)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_share_for_a_test_text_that_is_there_is_told_of_wherever_the_check_is_run(tmp_path, capsys):
    path, texts = tmp_path / "params.yaml", tmp_path / "texts"
    texts.mkdir()
    params = "space:\n  name: darts_rnn\ndata:\n  name: text\n  root: texts\n"
    (texts / "train.txt").write_text("a line\n")

    def warnings(params):
        path.write_text(params)
        assert main(["check", str(path)]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if "warning" in line]

    asks = f"{params}  test_fraction: 0.2\n"
    assert warnings(asks) == [], "the share is cut off train.txt"
    (texts / "testing.txt").write_text("a line\n")
    expected = "data.test_fraction: 0.2 has no effect: data.root has a test text of its own, testing.txt."
    assert warnings(asks) == [f"{path}:6: warning: {expected}"]
    assert warnings(params) == [], "nothing was asked for"
    [line] = warnings(asks.replace("texts", "nowhere"))
    assert line.startswith(f"{path}:5: warning: data.root: nowhere does not exist"), "of the share nothing can be said"


ALONE = "space: {name: darts_rnn}\ndata: {name: python_docs}\nmethod: {name: random_search, shared_weights: false}\n"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("epochs: 2", []),
        ("momentum: 0.5", ["search.momentum: 0.5"]),
        ("momentum: 0.0, lr: 10.0, lr_min: 10.0", []),
        ("lr: 10.0, lr_min: 0.125", ["search.lr_min: 0.125"]),
    ],
)
def test_texts_trained_alone_have_neither_momentum_nor_a_schedule(tmp_path, search, found):
    path = tmp_path / "params.yaml"
    for method, expected in ((ALONE, found), (ALONE.replace("false", "true"), [])):
        path.write_text(f"{method}search: {{{search}}}\n")
        lines = without_effect(load_params(path))
        assert [line.partition(" has no effect: random_search trains each text model alone")[0] for line in lines] == expected


@pytest.mark.parametrize(("epochs", "nonmono", "found"), [(1, 0, 0), (2, 1, 1), (3, 1, 1), (4, 1, 0), (5, 3, 1), (6, 3, 0)])
def test_averaging_that_begins_too_late_is_told_and_none_at_all_is_not(tmp_path, epochs, nonmono, found):
    path = tmp_path / "params.yaml"
    path.write_text(f"space: {{name: darts_rnn}}\ndata: {{name: python_docs}}\nretrain: {{epochs: {epochs}, nonmono: {nonmono}}}\n")
    lines = without_effect(load_params(path))
    assert [line.partition(" has no effect")[0] for line in lines] == [f"retrain.nonmono: {nonmono}"] * found


def test_the_first_stage_logs_them(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    stage = SimpleNamespace(
        cfg=config(data={"name": "digits", "valid_fraction": 0.0}),
        session=SimpleNamespace(progress="off", num_workers=0),
        metrics=lambda values: None,
        provenance=lambda **values: None,
    )
    with caplog.at_level(logging.WARNING):
        prepare.run(stage)
    assert "params.yaml: evaluate.weights: best is the last epoch" in caplog.text


def test_a_memory_budget_that_no_recurrent_cell_reads_is_told_of(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("space: {name: darts_rnn}\ndata: {name: python_docs}\nsearch: {memory_budget_mib: 5.0}\n")
    assert without_effect(load_params(path)) == ["search.memory_budget_mib: 5 has no effect: recurrent cells have no lean mode. Set null."]


@pytest.mark.parametrize(("nodes", "found"), [(4, 1), (8, 0)])
def test_random_cells_of_another_size_than_the_published_one_are_told_of(tmp_path, nodes, found):
    path = tmp_path / "params.yaml"
    path.write_text(f"space: {{name: darts_rnn, nodes: {nodes}}}\ndata: {{name: python_docs}}\nderive: {{genotype: DARTS_RNN_V2}}\n")
    lines = without_effect(load_params(path))
    assert [line for line in lines if "another size than DARTS_RNN_V2's. Set it to 8." in line] == lines
    assert len(lines) == found


@pytest.mark.parametrize(
    ("method", "found"),
    [
        ("darts_minus, skip_weight: 0.0", "method.skip_weight: 0 leaves darts_minus nothing of its own"),
        ("darts_minus, skip_weight: 0.5", None),
        ("beta_darts, decay_scale: 0.0", "method.decay_scale: 0 leaves beta_darts nothing of its own"),
        ("beta_darts, decay_scale: 1.0", None),
        ("smooth_darts, radius_start: 0.0, radius_end: 0.0", "method.radius_end: 0, as method.radius_start, leaves smooth_darts nothing"),
        ("smooth_darts, radius_start: 0.0", None),
    ],
)
def test_a_method_without_what_is_its_own_is_darts(tmp_path, method, found):
    path = tmp_path / "params.yaml"
    path.write_text(f"data: {{name: digits}}\nmethod: {{name: {method}}}\n")
    lines = [line for line in without_effect(load_params(path)) if line.startswith("method.")]
    assert len(lines) == (found is not None)
    assert not lines or lines[0].startswith(found)


def test_skip_connections_that_the_space_has_beside_its_primitives_are_counted(tmp_path):
    path = tmp_path / "params.yaml"
    space = (
        "space: {name: enas_macro, layers: 3, primitives: [fit_conv_3x3]}\nretrain: {layers: 3, auxiliary: false, drop_path_prob: 0.0}\n"
    )
    path.write_text(f"data: {{name: digits}}\nmethod: {{name: darts_plus}}\n{space}")
    assert not any(line.startswith("method.") for line in without_effect(load_params(path)))
