"""A benchmark's table: what it says, and every way in which it can be wrong."""

import re
from pathlib import Path

import pytest

from darts_core.components import benchmark_table, cross_check
from darts_core.config import parse
from darts_core.engine.lineup import Entrant, Saved, Sizes
from darts_core.engine.truth import BenchmarkTable, Truth
from darts_core.pipeline.evaluate import true_accuracies
from darts_core.spaces.nasbench201 import NASBENCH201_PRIMITIVES, from_string

HEADER = "index,arch,val_accuracy,test_accuracy\n"
ONE, TWO = "|none~0|", "|skip_connect~0|"
TABLE = Path(__file__).parents[4] / "shared" / "data" / "nasbench201_cifar10_12epochs.csv"


def write(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_accuracies_and_the_share_that_is_worse(tmp_path):
    rows = f"0,{ONE},10.5,11.0\n1,{TWO},20.0,30.0\n2,|nor_conv_1x1~0|,25.0,30.0\n3,|nor_conv_3x3~0|,50.0,60.0\n"
    table = BenchmarkTable.load(write(tmp_path, HEADER + rows))
    assert table.look_up(ONE) == Truth(valid_acc=10.5, test_acc=11.0, percentile=0.0)
    assert table.look_up(TWO) == Truth(valid_acc=20.0, test_acc=30.0, percentile=25.0)
    assert table.look_up("|nor_conv_3x3~0|").percentile == 75.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,val_accuracy\n", "Missing: test_accuracy."),
        ("", "Missing: arch, val_accuracy, test_accuracy."),
        (HEADER, "at least one architecture expected. Got none."),
        (f"{HEADER}0,{ONE},1.0,much\n", "table.csv:2: test_accuracy must be an accuracy in percent. Got 'much'."),
        (f"{HEADER}0,{ONE},101.0,1.0\n", "table.csv:2: val_accuracy must be an accuracy in percent. Got '101.0'."),
        (f"{HEADER}0,{ONE},10,11\n1,{ONE},10,12\n", "table.csv:3: one row for each architecture expected. |none~0| is there a second time"),
        (f"{HEADER}0,{ONE},0.91,0.90\n1,{TWO},0.5,0.94\n", "accuracies in percent expected. Got at most 0.94: these are shares."),
        (f"{HEADER}0,{ONE},1.0\n", "table.csv:2: 4 cells expected, one for each column. Got fewer."),
        (f"{HEADER}0,{ONE},1.0,2.0,3.0\n", "table.csv:2: 4 cells expected, one for each column. Got more."),
        ("val_accuracy,test_accuracy,arch\n1.0,2.0\n", "table.csv:2: 3 cells expected, one for each column. Got fewer."),
        (f"{HEADER}0, ,1.0,2.0\n", "table.csv:2: arch must be an architecture. Got ' '."),
        (f"arch,val_accuracy,test_accuracy,arch\n{ONE},1.0,2.0,{ONE}\n", "each column once expected. Got arch more than once."),
    ],
)
def test_a_malformed_table_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BenchmarkTable.load(write(tmp_path, text))
    assert str(error.value).startswith("evaluate.benchmark_table: ")


def test_spaces_around_an_architecture_are_none_of_it(tmp_path):
    assert BenchmarkTable.load(write(tmp_path, f"{HEADER}0, {ONE} ,1.0,2.0\n")).look_up(ONE).test_acc == 2.0


def test_a_missing_file_and_a_missing_architecture_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"evaluate\.benchmark_table: .*none\.csv: cannot be read \(No such file"):
        BenchmarkTable.load(tmp_path / "none.csv")
    table = BenchmarkTable.load(write(tmp_path, f"{HEADER}0,{ONE},1.0,2.0\n"))
    with pytest.raises(ValueError, match=r"has no architecture '\|skip_connect~0\|' among its 1\."):
        table.look_up(TWO)


def test_the_real_table():
    """The figures that are published with it."""
    if not TABLE.exists():
        pytest.skip(f"{TABLE} is not there")
    skips = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    truth = BenchmarkTable.load(TABLE).look_up(skips)
    assert truth.test_acc == pytest.approx(36.84, abs=0.005)
    assert truth.percentile == pytest.approx(3.0, abs=0.5)


def config(**evaluate):
    space, derive = evaluate.pop("space", "nasbench201"), evaluate.pop("derive", "search")
    drawn = evaluate.pop("random_genotypes", 1)
    retrain = f"retrain: {{layers: 3, auxiliary: false, random_genotypes: {drawn}}}\nderive: {{genotype: '{derive}'}}\n"
    return parse(f"data: {{name: digits}}\nspace: {{name: {space}}}\n{retrain}").model_copy(
        update={"evaluate": parse("data: {name: digits}\n").evaluate.model_copy(update=evaluate)}
    )


def test_params_are_checked_with_the_table(tmp_path):
    two_nodes = "nasbench201, nodes: 2"
    write(tmp_path, HEADER + "".join(f"0,|{op}~0|,1.0,2.0\n" for op in NASBENCH201_PRIMITIVES))
    assert cross_check(config(benchmark_table="table.csv", space=two_nodes), folder=tmp_path) == []
    assert benchmark_table(config(benchmark_table=None)) is None
    [fault] = cross_check(config(benchmark_table="other.csv"), folder=tmp_path)
    assert "other.csv: cannot be read" in fault
    [fault] = cross_check(config(benchmark_table="table.csv", space="darts_cnn"), folder=tmp_path)
    assert fault.startswith("evaluate.benchmark_table must be null with space.name: darts_cnn")


def test_a_table_of_other_architectures_is_told_before_the_search(tmp_path):
    write(tmp_path, f"{HEADER}0,{ONE},1.0,2.0\n")
    [fault] = cross_check(config(benchmark_table="table.csv"), folder=tmp_path)
    assert re.search(
        r"evaluate\.benchmark_table: .*table\.csv has no architecture '\|.*\|\+\|.*' among its 1\. Expected a table of this space", fault
    )
    two_nodes = "nasbench201, nodes: 2"
    [fault] = cross_check(config(benchmark_table="table.csv", space=two_nodes), folder=tmp_path)
    assert "among its 1." in fault
    given = {"benchmark_table": "table.csv", "space": two_nodes, "derive": ONE}
    assert cross_check(config(**given, random_genotypes=0), folder=tmp_path) == [], "the one that is asked about is there"
    assert len(cross_check(config(**given, random_genotypes=1), folder=tmp_path)) == 1
    assert len(cross_check(config(**{**given, "derive": TWO}, random_genotypes=0), folder=tmp_path)) == 1


def test_the_searched_and_the_random_cells_are_looked_up(tmp_path):
    path = write(tmp_path, f"{HEADER}0,{ONE},1.0,2.0\n1,{TWO},3.0,4.0\n")
    sizes = Sizes(channels=3, height=8, width=8, num_classes=2, init_channels=2, layers=3, stem="cifar", auxiliary=False)
    entrants = [
        Entrant(name="searched", genotype=from_string(TWO)),
        Entrant(name="resnet20", baseline="resnet20"),
        Entrant(name="random_0", genotype=from_string(ONE)),
    ]
    saved = {one.name: Saved(entrant=one, sizes=sizes, folder=tmp_path) for one in entrants}
    assert true_accuracies(config(benchmark_table=str(path)), saved) == {
        "table_valid_acc": 3.0,
        "table_test_acc": 4.0,
        "table_percentile": 50.0,
        "random_0_table_valid_acc": 1.0,
        "random_0_table_test_acc": 2.0,
        "random_0_table_percentile": 0.0,
    }
    assert true_accuracies(config(benchmark_table=None), saved) == {}
