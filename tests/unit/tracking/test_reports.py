import json
import math

import pytest

from darts_core.tracking import reports


@pytest.mark.parametrize(
    ("key", "stage", "name"),
    [
        ("search_valid_acc", "search", "accuracy/search_valid"),
        ("retrain_valid_acc", "retrain", "accuracy/retrain_valid"),
        ("test_acc", "evaluate", "accuracy/test"),
        ("test_acc_low", "evaluate", "accuracy/test_low"),
        ("test_acc_bootstrap_low", "evaluate", "accuracy/test_bootstrap_low"),
        ("resnet20_mcnemar_p", "evaluate", "result/resnet20_mcnemar_p"),
        ("test_top5", "evaluate", "accuracy/test_top5"),
        ("resnet20_test_acc", "evaluate", "accuracy/resnet20_test"),
        ("vs_random", "evaluate", "accuracy/vs_random"),
        ("params_m", "evaluate", "cost/params_m"),
        ("resnet20_macs_m", "evaluate", "cost/resnet20_macs_m"),
        ("latency_ms_bs1", "benchmark_hw", "cost/latency_ms_bs1"),
        ("energy_j", "benchmark_hw", "cost/energy_j"),
        ("any_fact", "benchmark_hw", "cost/any_fact"),
        ("test_ece", "evaluate", "result/test_ece"),
        ("normal_skip_connect", "derive_genotype", "result/normal_skip_connect"),
        ("train_images", "prepare_data", "result/train_images"),
    ],
)
def test_every_key_of_metrics_json_has_a_place_on_the_row(key, stage, name):
    assert reports.summary_name(key, stage=stage) == name


def test_metric_names_are_what_mlflow_accepts():
    assert reports.metric_name("train_loss", stage="search") == "search/train_loss"
    assert reports.metric_name("valid_acc", stage="retrain", network="resnet20") == "retrain/resnet20/valid_acc"
    assert reports.metric_name("alpha_normal/sep_conv_3x3", stage="search") == "alpha_normal/sep_conv_3x3"
    assert reports.metric_name("alpha_normal/edge 0->2/none", stage="search") == "alpha_normal/edge 0-2/none"
    assert reports.metric_name("top5@train (%)", stage="search") == "search/top5_train ___"


def test_summary_reads_both_files_and_neither_needs_to_be_there(tmp_path):
    assert reports.summary(tmp_path, stage="search") == {}
    (tmp_path / "metrics.json").write_text(json.dumps({"schema_version": 1, "search_valid_acc": 91.5, "rule": "strongest"}))
    (tmp_path / "resources.json").write_text(json.dumps({"search_s": 12, "search_rss_mib": 800.5}))
    assert reports.summary(tmp_path, stage="search") == {
        "accuracy/search_valid": 91.5,
        "cost/search_s": 12.0,
        "cost/search_rss_mib": 800.5,
    }


def test_curves_of_every_kind_of_csv(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,train_loss,note,lr\n1,2.5,warm,\n2,nan,,0.1\n")
    (tmp_path / "epochs_resources.csv").write_text("epoch,epoch_s\n1,3.5\n")
    (tmp_path / "alphas_normal.csv").write_text("epoch,none,skip_connect\n1,0.25,0.75\n")
    (tmp_path / "alphas.csv").write_text("epoch,cell,edge,op,weight\n1,normal,0->2,none,0.125\n")
    (tmp_path / "resnet20.csv").write_text("epoch,valid_acc\n1,50\n")
    (tmp_path / "per_class.csv").write_text("class,accuracy\n1,50\n")
    (tmp_path / "empty.csv").write_text("")
    points = list(reports.curves(tmp_path, stage="search", all_edges=True))
    assert points[0] == ("alpha_normal/edge 0-2/none", 0.125, 1)
    rest = {(name, step): value for name, value, step in points[1:]}
    assert math.isnan(rest.pop(("search/train_loss", 2)))
    assert rest == {
        ("search/train_loss", 1): 2.5,
        ("search/lr", 2): 0.1,
        ("search/epoch_s", 1): 3.5,
        ("alpha_normal/none", 1): 0.25,
        ("alpha_normal/skip_connect", 1): 0.75,
        ("search/resnet20/valid_acc", 1): 50.0,
    }
    assert not any("/edge " in name for name, _, _ in reports.curves(tmp_path, stage="search", all_edges=False))


def test_step_images_carry_their_epoch_in_the_name(tmp_path):
    for name in ("alphas_normal_epoch_003.png", "curves.png", "alphas_normal_epoch_012.png"):
        (tmp_path / name).touch()
    assert [(key, step) for key, _, step in reports.step_images(tmp_path)] == [("alphas_normal", 3), ("alphas_normal", 12)]


def test_the_data_set_is_named_by_its_content(tmp_path):
    path = tmp_path / "spec.json"
    assert reports.dataset(path) is None
    path.write_text(json.dumps({"name": "digits", "content_hash": "ab" * 32}))
    assert reports.dataset(path) == {"name": "digits", "digest": "ab" * 18, "source": str(tmp_path)}
