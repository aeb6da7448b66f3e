"""dvc.yaml says of each stage what it reads, what concerns it, and what it writes; nothing of that may drift from the code."""

import ast
from pathlib import Path

import pytest
import yaml

from darts_core.config import Config
from darts_core.pipeline import places
from darts_core.pipeline.named_files import named_files
from darts_core.tracking.reports import LAST_STAGE, REPORTS

ROOT = Path(__file__).parents[2]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
NOTE = DVC["stages"]["named_files"]
STAGES = {stage: described for stage, described in DVC["stages"].items() if described is not NOTE}
PARAMS = [ROOT / "params.yaml", *sorted((ROOT / "darts_core" / "presets").glob("*.yaml"))]
SCRIPTS = {"prepare_data": "prepare", "derive_genotype": "derive", "benchmark_hw": "benchmark"}
CHANGES_NO_RESULT = {
    "tracking",
    "runtime.num_workers",
    "runtime.processes",
    "runtime.progress",
    "search.memory",
    "search.memory_budget_mib",
}


def sources(stage):
    return [dep for dep in STAGES[stage].get("deps", []) if not dep.startswith(("data/", "reports/"))]


def test_the_stages_are_those_of_the_code():
    assert list(STAGES) == list(REPORTS) == list(places.REPORTS)
    assert {stage: folder for stage, (folder, _) in REPORTS.items()} == places.REPORTS
    for stage, described in STAGES.items():
        assert described["cmd"] == f"python -m stages.{stage}"
        assert str(REPORTS[stage][0]) in described["outs"]


def test_every_source_that_is_named_is_there():
    missing = [f"{stage}: {dep}" for stage in STAGES for dep in sources(stage) if not (ROOT / dep).exists()]
    assert missing == []


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != LAST_STAGE])
def test_a_stage_depends_on_the_loops_that_it_calls(stage):
    script = ROOT / "darts_core" / "pipeline" / f"{SCRIPTS.get(stage, stage)}.py"
    imported = {node.module for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)}
    loops = {f"{module.replace('.', '/')}.py" for module in imported if module.startswith("darts_core.engine.")}
    assert loops <= set(sources(stage))
    assert str(script.relative_to(ROOT)) in sources(stage)


def test_only_evaluate_reads_the_test_images():
    test_images = {"data", "data/prepared", "data/prepared/test"}
    readers = {stage for stage, described in STAGES.items() if test_images & set(described["deps"])}
    assert readers == {"evaluate"}


def test_nothing_depends_on_seconds_or_memory():
    for stage, described in STAGES.items():
        for dep in described["deps"]:
            assert not dep.startswith("reports/") or dep.endswith("metrics.json"), stage


def test_the_last_stage_always_runs_and_comes_last():
    assert [stage for stage, described in STAGES.items() if described.get("always_changed")] == [LAST_STAGE]
    others = [out for stage, described in DVC["stages"].items() if stage != LAST_STAGE for out in described["outs"]]
    reached, deps = {LAST_STAGE}, [dep for dep in STAGES[LAST_STAGE]["deps"] if dep.startswith(("data/", "reports/"))]
    while deps:
        dep = deps.pop()
        assert any(dep == out or dep.startswith(f"{out}/") for out in others), dep
        for stage, described in STAGES.items():
            if stage not in reached and any(dep == out or dep.startswith(f"{out}/") for out in described["outs"]):
                reached.add(stage)
                deps += [d for d in described["deps"] if d.startswith(("data/", "reports/"))]
    assert reached == set(STAGES)


def test_what_reads_a_file_that_params_name_depends_on_its_hash():
    assert dict(NOTE) == {"cmd": "python -m stages.named_files", "always_changed": True, "outs": [str(places.NAMED_FILES)]}
    readers = {"space": [*list(STAGES)[1:]], "genotype": ["derive_genotype"], "table": ["evaluate"], "ranks": ["search"]}
    assert set(readers) == set(named_files(Config(data={"name": "digits"})))
    readers["data"] = ["prepare_data"]
    for name, stages in readers.items():
        dep = str(places.NAMED_FILES / f"{name}.json")
        assert [stage for stage, described in STAGES.items() if dep in described["deps"]] == stages


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_every_key_of_params_concerns_a_stage_and_the_other_way_round(path):
    values = yaml.safe_load(path.read_text())
    named = {key for stage in STAGES for key in STAGES[stage]["params"]}
    for key in named:
        part = values
        for name in key.split("."):
            assert name in part, f"{path.name} has no {key}; DVC stops where a key of dvc.yaml is missing"
            part = part[name]
    concerning = {key for stage in STAGES if stage != LAST_STAGE for key in STAGES[stage]["params"]} | {"benchmark_hw"}
    one_by_one = ("runtime", "search")
    flat = {key for key in values if key not in one_by_one} | {f"{part}.{key}" for part in one_by_one for key in values[part]}
    assert flat - concerning == CHANGES_NO_RESULT
    assert not any(key in concerning for key in ("tracking", "runtime", "search", *CHANGES_NO_RESULT))


def test_the_gitignores_are_those_that_dvc_would_write():
    outs = [Path(out) for described in DVC["stages"].values() for out in described["outs"]]
    for folder in ("data", "reports"):
        ignored = (ROOT / folder / ".gitignore").read_text().split()
        assert ignored == [f"/{out.name}" for out in outs if out.parent == Path(folder)]
    assert {out.parent for out in outs} == {Path("data"), Path("reports")}
    assert "dvc.lock" not in (ROOT / ".gitignore").read_text()


def test_metrics_and_plots_show_what_a_stage_writes():
    outs = {out for described in STAGES.values() for out in described["outs"]}
    shown = [*DVC["metrics"], *(plot for plot in DVC["plots"] if isinstance(plot, str))]
    drawn = [item for plot in DVC["plots"] if isinstance(plot, dict) for item in plot.items()]
    shown += [path for name, settings in drawn for path in (settings["y"] if isinstance(settings["y"], dict) else [name])]
    for path in shown:
        assert str(Path(path).parent) in outs
    templates = [settings.get("template") for plot in DVC["plots"] if isinstance(plot, dict) for settings in plot.values()]
    assert "alphas" in templates
    assert (ROOT / ".dvc" / "plots" / "alphas.json").exists()
