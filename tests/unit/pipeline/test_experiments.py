"""Methods times seeds: what each experiment changes, checked before anything is queued."""

import re
from pathlib import Path

import pytest
import yaml

from darts_core.config import yaml_lines
from darts_core.pipeline.experiments import ExperimentError, overrides, plan

PARAMS = yaml_lines.read((Path(__file__).parents[3] / "params.yaml").read_text(), source="params.yaml").values


def planned(methods, seeds=(0,), common=(), params=PARAMS):
    return plan(params, methods, seeds=seeds, common=common, folder=Path())


def test_another_method_loses_the_options_of_the_first_one():
    [gdas] = planned(["gdas:temperature=5.0"], seeds=[3], common=["search.epochs=2"])
    assert gdas.changes == ("++seed=3", "~method.arch_gradient", "++method.name='gdas'", "++method.temperature=5.0", "++search.epochs=2")
    assert re.fullmatch("compare-gdas-3-[0-9a-f]{8}", gdas.name)
    assert (gdas.method, gdas.seed) == ("gdas:temperature=5.0", 3)


def test_the_method_of_params_keeps_its_own():
    [darts] = planned(["darts:search.arch_lr=0.1"])
    assert darts.changes == ("++search.arch_lr=0.1",)


def test_whole_rounds_come_first_and_names_are_apart():
    found = planned(["darts", "gdas", "darts:arch_gradient=unrolled"], seeds=[0, 1])
    assert [(one.method.partition(":")[0], one.seed) for one in found] == [(m, s) for s in (0, 1) for m in ("darts", "gdas", "darts")]
    assert len({one.name for one in found}) == 6
    assert {one.name for one in found}.isdisjoint(one.name for one in planned(["gdas"], common=["search.epochs=2"]))
    assert [one.name for one in planned(["gdas"], seeds=[1])] == [found[4].name]


@pytest.mark.parametrize(
    ("methods", "common", "message"),
    [
        (["gdsa"], [], "--methods gdsa: method.name: .*'gdsa'.*(did you mean 'gdas'?)"),
        (["gdas:samples=3"], [], "--methods gdas:samples=3: method.samples: "),
        (["gdas"], ["search.epoch=3"], "search.epoch: not a known key"),
        (["gdas"], ["search.epochs"], "Expected section.key=value, such as search.epochs=5. Got 'search.epochs'."),
        (["gdas", "gdas"], [], "--methods and --seeds: each once expected. Got gdas gdas and 0."),
    ],
)
def test_faults_are_found_before_anything_runs(methods, common, message):
    with pytest.raises(ExperimentError, match=re.escape(message).replace(r"\.\*", ".*")):
        planned(methods, common=common)


def test_values_in_the_grammar_of_hydra():
    before = {"seed": 0, "data": {"name": "digits", "root": None}}
    after = {"seed": 0, "data": {"name": "it's", "root": "../my, photos", "image_size": None, "sizes": [1, True, "a"]}}
    assert overrides(before, after) == [
        "++data.name='it\\'s'",
        "++data.root='../my, photos'",
        "++data.image_size=null",
        "++data.sizes=[1,true,'a']",
    ]
    assert overrides(before, before) == []


def test_dvc_reads_them_as_they_are_meant(tmp_path):
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    after = {"seed": 0, "method": {"name": "it's", "root": "a\\b, c\\'d\\", "lr": 1e-5, "yes": True, "none": None, "some": [1, "x"]}}
    before = {"seed": 0, "method": {"name": "darts", "arch_gradient": "first"}}
    path.write_text(yaml.safe_dump(before))
    apply_overrides(path, overrides(before, after))
    assert yaml_lines.read(path.read_text(), source="params.yaml").values == after
