import pytest

from darts_core.components import COMPONENTS, build_method, build_space, cross_check, load_params, named_genotype
from darts_core.config import Config, ConfigError, from_mapping
from darts_core.genotype import published
from darts_core.search.derive import DERIVE_RULES
from darts_core.search.relax import softmax


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text("data: {name: digits}\n" + text)
    return path


def test_space_and_method_are_built_as_the_file_says(tmp_path):
    cfg = load_params(
        write(
            tmp_path, "space: {name: darts_cnn, nodes: 2, primitives: [none, skip_connect]}\nmethod: {name: darts, arch_gradient: exact}\n"
        )
    )
    assert build_space(cfg).shape.nodes == 2
    assert build_space(cfg).primitives == ("none", "skip_connect")
    assert type(build_method(cfg).arch_gradient).__name__ == "Exact"
    assert build_method(cfg).relax is softmax


def test_a_warm_up_counts_where_there_is_a_search(tmp_path):
    text = "method: {name: pc_darts}\nsearch: {epochs: 15}\nderive: {genotype: DARTS_V2}\n"
    assert build_method(load_params(write(tmp_path, text))).warmup_epochs == 15


def test_a_derivation_rule_takes_the_place_of_the_methods_own(monkeypatch):
    def other(op_EO, *, primitives, nodes, space):
        raise NotImplementedError

    monkeypatch.setitem(DERIVE_RULES._factories, "other", other)
    cfg = Config.model_validate({"data": {"name": "digits"}, "derive": {"rule": "other"}})
    assert build_method(cfg).derive is other
    assert build_method(Config.model_validate({"data": {"name": "digits"}})).derive is DERIVE_RULES.get("strongest_edges")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("derive: {genotype: DARTS_V3}", 2, r"derive.genotype: no published genotype is called 'DARTS_V3' \(did you mean 'DARTS_V"),
        ("derive: {rule: strongest}", 2, "derive.rule: no derivation rule is called 'strongest'"),
        ("retrain: {baselines: [resnet2O]}", 2, r"retrain.baselines: no .* is called 'resnet2O' \(did you mean 'resnet20'\?\)"),
        ("\nspace: {name: darts_cnn, primitives: [none]}", 3, "space.primitives must hold an operation beside 'none'"),
        ("space: {name: darts_cnn, layers: 2}", 2, "space.layers must be at least 3"),
        ("method: {name: darts, arch_gradient: exact}\nsearch: {memory: lean}", 3, "search.memory: lean saves nothing with method.arch_gr"),
        ("search: {memory: lean, memory_budget_mib: 900.0}", 2, r"search.memory_budget_mib: .*search.memory: auto alone \(lean\)"),
        ("method: {name: darts, arch_gradient: second}", 2, "method.arch_gradient: must be 'first', 'unrolled' or 'exact'"),
        (
            "method: {name: darts, prune_below: 0.125}",
            2,
            "method.prune_below must be less than 0.125, which each of 8 operations weighs at",
        ),
        ("method: {name: pc_darts}\nsearch: {epochs: 15}", 3, r"search.epochs must be more than method.warmup_epochs, 15, .* Got 15"),
        (
            "method: {name: pc_darts}\nspace: {name: darts_cnn, init_channels: 6}",
            3,
            "space.init_channels must be a multiple of method.channel_proportion, 4. Got 6",
        ),
        (
            "method: {name: drnas, progressive: true}\nspace: {name: darts_cnn, init_channels: 16}",
            3,
            "space.init_channels must be a multiple of method.channel_proportions, 6. Got 16",
        ),
        (
            "method: {name: p_darts, selection: perturbation}",
            2,
            r"method.selection: leave it out: .* past method.skip_limit, which has no say",
        ),
        ("method: {name: p_darts, kept_operations: 5}", 2, r"method.kept_operations: must be a list such as \[a, b\]. Got 5"),
        ("method: {name: p_darts, add_layers: [1]}", 2, r"method.add_layers: must have more items. Got \[1\]"),
        ("method: {name: p_darts, kept_operations: [5, 4, 3]}", 2, r"method.kept_operations: must have 2 items. Got \[5, 4, 3\]"),
        ("method: {name: proxyless, latency_ms: 3}", 2, r"method.latency_ms: must be keys with values such as \{a: 1\}. Got 3"),
        ("method: {name: p_darts}\nspace: {name: darts_wide}", 2, r"method.add_layers must be \[0, 0, 0\] with space.name: darts_wide"),
        ("method: {name: p_darts}\nspace: {name: layerwise}", 2, r"method.add_layers must be \[0, 0, 0\] with space.name: layerwise"),
        ("space: {name: enas_macro, layers: 0}", 2, "space.layers must be a multiple of 3, .* Got 0"),
        ("method: {name: pc_darts, channel_proportion: 0}", 2, "method.channel_proportion must be at least 1. Got 0"),
        ("method: {name: dart}", 2, r"method.name: no method is called 'dart' \(did you mean 'darts'\?\)"),
    ],
)
def test_a_name_that_does_not_exist_is_found_with_its_line(tmp_path, text, line, message):
    with pytest.raises(ConfigError, match=rf"params.yaml:{line}: .*{message}"):
        load_params(write(tmp_path, text + "\n"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{name: digits, test_fraction: 1.5}", r"data.test_fraction must lie between 0 and 1, both excluded. Got 1.5."),
        ("{name: image_folder, root: photos, image_size: 0}", r"data.image_size must be at least 1"),
        ("{name: image_folder, root: photos, image_size: 100000}", r"data.image_size must be at most 10000, .* Got 100000."),
        ("{name: image_folder, root: photos, test_fraction: 0.0}", r"data.test_fraction must lie between 0 and 1"),
    ],
)
def test_an_option_of_the_data_set_out_of_range_is_found_before_any_image_is_read(tmp_path, data, message):
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: 1\ndata: {data}\n")
    with pytest.raises(ConfigError, match=rf"params.yaml:2: {message}"):
        load_params(path)


def test_a_data_set_that_lacks_an_option_is_one_fault(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("data: {name: image_folder}\n")
    with pytest.raises(ConfigError) as error:
        load_params(path)
    assert str(error.value) == f"{path}:1: data.root: missing: data set 'image_folder' needs it."
    with pytest.raises(ConfigError) as error:
        from_mapping({"data": {"name": "image_folder"}}, components=COMPONENTS, cross_check=cross_check)
    assert str(error.value) == "data.root: missing: data set 'image_folder' needs it."


def test_a_genotype_file_is_read_beside_params_yaml(tmp_path, monkeypatch):
    (tmp_path / "cells").mkdir()
    (tmp_path / "elsewhere").mkdir()
    published("DARTS_V2").save(tmp_path / "cells/mine.json")
    path = write(tmp_path, "derive: {genotype: cells/mine.json}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert named_genotype(load_params(path), folder=tmp_path) == published("DARTS_V2")
    monkeypatch.chdir(tmp_path)
    assert named_genotype(load_params()) == published("DARTS_V2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, r"mine.json: cannot be read \(No such file"),
        (lambda text: text[:-9], r"mine.json: not JSON \("),
        (lambda text: text.replace('"rule"', '"rul"'), r"mine.json: missing \['rule'\]"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), r"mine.json: schema_version 1 expected. Got 2"),
        (
            lambda text: text.replace("skip_connect", "skip_conect"),
            r".* cell, node \d: unknown operation 'skip_conect' \(did you mean 'skip_connect'\?\)",
        ),
        (
            lambda text: text.replace("darts_cnn", "nasbench201"),
            r"The genotype is of the space 'nasbench201'. space.name expects 'darts_cnn'\. Published ones of it: .*DARTS_V2",
        ),
    ],
)
def test_a_genotype_file_that_cannot_be_built_is_a_fault_of_the_key(tmp_path, change, message):
    file = tmp_path / "mine.json"
    published("DARTS_V2").save(file)
    text = change(file.read_text())
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(ConfigError, match=rf"params.yaml:2: derive.genotype: .*{message}"):
        load_params(write(tmp_path, "derive: {genotype: mine.json}\n"))


def test_all_faults_are_listed_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_params(write(tmp_path, "derive: {genotype: x, rule: y}\nretrain: {baselines: [z]}\nspace: {name: darts_cnn, nodes: 0}\n"))
    lines = str(error.value).splitlines()
    assert [line.split(":")[1] for line in lines if "params.yaml:" in line] == ["2", "2", "3", "4"]


@pytest.mark.parametrize("method", ["pc_darts", "darts_minus"])
def test_a_method_for_images_alone_is_refused_for_texts_by_name(tmp_path, method):
    path = tmp_path / "params.yaml"
    path.write_text(f"space: {{name: darts_rnn}}\ndata: {{name: python_docs}}\nmethod: {{name: {method}}}\n")
    with pytest.raises(ConfigError) as told:
        load_params(path)
    refused = f"method.name: {method} does not work with space.name: darts_rnn: it needs what only networks for images have."
    [line] = [line for line in str(told.value).splitlines() if refused in line]
    named = line.partition("Expected one of: ")[2].rstrip(".").split(", ")
    assert {"darts", "gdas", "random_search"} <= set(named)
    assert method not in named
    for name in named:
        path.write_text(f"space: {{name: darts_rnn}}\ndata: {{name: python_docs}}\nmethod: {{name: {name}}}\nsearch: {{epochs: 60}}\n")
        load_params(path)


def test_an_option_that_a_text_cannot_have_is_told_by_its_key(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("space: {name: darts_rnn}\ndata: {name: python_docs}\nmethod: {name: darts, channel_proportion: 4}\n")
    with pytest.raises(ConfigError, match=r"method\.channel_proportion: 1 expected with space\.name: darts_rnn"):
        load_params(path)
