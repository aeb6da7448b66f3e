"""params.yaml: every fault at once, each with file, line, key and what was expected."""

import pytest

from darts_core import config
from darts_core.config import ConfigError
from darts_core.registry import Registry

DATA: Registry[None] = Registry("data set", key="data")
METHODS: Registry[None] = Registry("method", key="method")


@DATA.register("digits")
def digits(*, test_fraction: float = 0.2, folders: tuple[str, ...] = ()) -> None:
    """Digits."""


@METHODS.register("darts")
def darts(*, arch_gradient: str = "first_order") -> None:
    """DARTS."""


def parse(text: str) -> config.Config:
    return config.parse(text, components={"data": DATA, "method": METHODS})


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(text)
    return str(error.value).splitlines()


def test_defaults_are_the_references_recipe():
    cfg = parse("data: {name: digits}\n")
    assert (cfg.search.epochs, cfg.search.batch_size, cfg.search.lr, cfg.search.lr_min) == (50, 64, 0.025, 0.001)
    assert (cfg.search.arch_lr, cfg.search.arch_weight_decay, cfg.search.weight_decay) == (3e-4, 1e-3, 3e-4)
    assert (cfg.retrain.epochs, cfg.retrain.batch_size, cfg.retrain.init_channels, cfg.retrain.layers) == (600, 96, 36, 20)
    assert (cfg.space.name, cfg.method.name, cfg.derive.genotype) == ("darts_cnn", "darts", "search")


def test_a_component_keeps_its_own_options():
    cfg = parse("data: {name: digits, test_fraction: 0.3, valid_fraction: 0.2}\nmethod: {name: darts, arch_gradient: exact}\n")
    assert cfg.data.options == {"test_fraction": 0.3}
    assert cfg.data.valid_fraction == 0.2
    assert cfg.method.options == {"arch_gradient": "exact"}


def test_it_is_frozen():
    cfg = parse("data: {name: digits}\n")
    with pytest.raises(ValueError, match="frozen"):
        cfg.search.epochs = 3


@pytest.mark.parametrize(("written", "value"), [("3e-4", 3e-4), ("3.0e-4", 3e-4), ("1E-2", 0.01), (".5e0", 0.5), ("1", 1.0), ("+2.", 2.0)])
def test_numbers_are_numbers(written, value):
    cfg = parse(f"data: {{name: digits}}\nsearch: {{lr: {written}, lr_min: 0}}\n")
    assert cfg.search.lr == value
    assert isinstance(cfg.search.lr, float)


def test_off_is_a_word():
    cfg = parse("data: {name: digits}\nretrain: {amp: off}\nruntime: {progress: off}\n")
    assert (cfg.retrain.amp, cfg.runtime.progress) == ("off", "off")


def test_a_folder_named_like_a_date_stays_a_name():
    assert parse("data: {name: digits, folders: [2024-01-01]}\n").data.options == {"folders": ["2024-01-01"]}


def test_every_fault_at_once_in_the_order_of_the_lines():
    text = """\
data:
  name: digts
  valid_fractoin: 0.1
search:
  epoch: 50
  batch_size: '64'
  lr: fast
retrian:
  epochs: 5
retrain:
  epochs: 10
  warmup_epochs: 10
"""
    assert [line.split(": ")[0:2] for line in faults(text)] == [
        ["params.yaml:2", "data.name"],
        ["params.yaml:5", "search.epoch"],
        ["params.yaml:6", "search.batch_size"],
        ["params.yaml:7", "search.lr"],
        ["params.yaml:8", "retrian"],
        ["params.yaml:12", "retrain.warmup_epochs"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {name: digts}", "1: data.name: no data set is called 'digts' (did you mean 'digits'?). Known: digits."),
        (
            "data: {name: digits, tst_fraction: 1.0}",
            "1: data.tst_fraction: not an option of data set 'digits' (did you mean 'test_fraction'?)",
        ),
        ("data: {name: digits, split_sed: 1}", "1: data.split_sed: not an option of data set 'digits' (did you mean 'split_seed'?)"),
        ("data: {name: digits, test_fraction: '0.2'}", "1: data.test_fraction: must be a number. Got '0.2'."),
        ("data: {name: 3}", "1: data.name: must be text, in quotes where it looks like something else. Got 3."),
        ("data: {valid_fraction: 0.1}", "1: data.name: missing. Expected a name, one of: digits."),
        ("seed: 1", "1: data: missing. Expected a section with a name, one of: digits."),
        ("data: digits", "1: data: must be a section with indented keys (name, "),
        ("data: {name: digits}\nsearch:\n", "2: search: must be a section with indented keys (epochs, "),
        ("data: {name: digits}\nsearch: 5\n", "Got 5."),
        (
            "data: {name: digits}\nsearch: {epoch: 5}\n",
            "2: search.epoch: not a known key (did you mean 'epochs'?). Known: epochs, batch_size,",
        ),
        ("data: {name: digits}\n7: x\n", "2: 7: not a known key. Known: seed, data,"),
        ("data: {name: digits}\nseed: true\n", "2: seed: must be a whole number. Got true."),
        ("data: {name: digits}\nseed: -1\n", "2: seed: must be greater than or equal to 0. Got -1."),
        ("data: {name: digits}\nseed: 4294967296\n", "2: seed: must be less than 4294967296."),
        ("data: {name: digits}\nseed: 010\n", "2: seed: must be a whole number. Got '010'."),
        ("data: {name: digits}\nseed: 1_000\n", "2: seed: must be a whole number. Got '1_000'."),
        ("data: {name: digits}\nsearch: {lr: .inf}\n", "2: search.lr: must be a finite number. Got inf."),
        ("data: {name: digits}\nsearch: {lr: true}\n", "2: search.lr: must be a number. Got true."),
        ("data: {name: digits}\nsearch: {lr: 1e-4}\n", "2: search.lr_min: must not exceed lr (0.0001). Got 0.001."),
        ("data: {name: digits}\nretrain: {lr_min: 1.0}\n", "2: retrain.lr_min: must not exceed lr (0.025). Got 1.0."),
        ("data: {name: digits}\nretrain: {cutout: on}\n", "2: retrain.cutout: must be true or false. Got 'on'."),
        ("data: {name: digits}\nretrain: {amp: half}\n", "2: retrain.amp: must be 'off', 'bfloat16' or 'float16'. Got 'half'."),
        ("data: {name: digits}\nretrain: {baselines: resnet20}\n", "must be a list such as [a, b]. Got 'resnet20'."),
        ("data: {name: digits}\nretrain: {baselines: [a, a]}\n", "2: retrain.baselines: names a network twice. Got ['a', 'a']."),
        ("data: {name: digits}\nbenchmark_hw:\n  batch_sizes:\n    - 1\n    - 0\n", "5: benchmark_hw.batch_sizes.1: must be greater"),
        (
            "data: {name: digits}\nbenchmark_hw: {batch_sizes: []}\n",
            "2: benchmark_hw.batch_sizes: must hold at least one batch size. Got [].",
        ),
        ("data: {name: digits}\nbenchmark_hw: {num_threads: 0}\n", "2: benchmark_hw.num_threads: must be greater than or equal to 1"),
        *(
            (f"data: {{name: digits}}\nruntime: {{{key}: 100000}}\n", f"2: runtime.{key}: must be less than or equal to 1024. Got 100000.")
            for key in ("num_threads", "num_workers", "processes")
        ),
        ("data: {name: digits}\nbenchmark_hw: {num_threads: -2}\n", "2: benchmark_hw.num_threads: must be greater than or equal to 1"),
        ("data: {name: digits}\nruntime: {device: gpu}\n", "2: runtime.device: must be auto, cpu, cuda or cuda:N. Got 'gpu'."),
        ("data: {name: digits}\nseed: 1\nseed: 2\n", "3: seed: given twice (first in line 2)."),
        ("data: {name: digits}\nsearch: {epochs: 1}\nsearch: {epochs: 2}\n", "3: search: given twice (first in line 2)."),
    ],
)
def test_a_fault_says_where_and_what(text, message):
    [line] = faults(text)
    assert line.startswith("params.yaml:")
    assert message in line


def test_names_are_checked_against_each_other_in_the_same_round():
    """The cross check sees a configuration although other keys are at fault, and its messages get lines, too."""
    text = """\
data: {name: digits, sise: 1}
derive:
  genotype: X
search: {epoch: 1, lr: x}
retrain:
  baselines: [a]
benchmark_hw:
  batch_sizes: [x]
"""

    def cross_check(cfg):
        yield f"derive.genotype: unknown '{cfg.derive.genotype}'"
        yield f"retrain.baselines: {list(cfg.retrain.baselines)}"
        yield "space.layers must be at least 1."

    with pytest.raises(ConfigError) as error:
        config.parse(text, components={"data": DATA}, cross_check=cross_check)
    assert [line.split(" ")[0] for line in str(error.value).splitlines()] == [
        "params.yaml:1:",
        "params.yaml:1:",
        "params.yaml:3:",
        "params.yaml:4:",
        "params.yaml:4:",
        "params.yaml:6:",
        "params.yaml:8:",
    ]
    assert "params.yaml:3: derive.genotype: unknown 'X'" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "params.yaml:1: expected sections such as 'data:' and 'search:'. Got an empty file."),
        ("# nothing\n", "Got an empty file."),
        ("- data\n", "Got list."),
        ("digits\n", "Got str."),
        ("data:\n\tname: digits\n", "params.yaml:2: not YAML: found character '\\t' that cannot start any token. A tab cannot indent"),
        ("data: {name: digits\nseed: 1\n", "params.yaml:2: not YAML: "),
        ("a: b: c\n", "params.yaml:1: not YAML: mapping values are not allowed here."),
        ("data: &d {name: digits}\nsearch: *d\n", "params.yaml:2: not YAML: an alias (*name) stands here; write the value out."),
        ("a: b\n---\nc: d\n", "params.yaml:2: not YAML: "),
        ("? [a]\n: b\n", "params.yaml:1: not YAML: found unhashable key."),
        ("data: !!python/object/apply:os.getcwd []\n", "params.yaml:1: not YAML: could not determine a constructor"),
        ("\x00", "params.yaml:1: not YAML: unacceptable character"),
        ("a: " + "[" * 5000, "params.yaml:1: not YAML: "),
    ],
)
def test_what_is_not_a_parameter_file_says_so(text, message):
    [line] = faults(text)
    assert message in line


def test_load_reads_a_file_and_names_it(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbfdata: {name: digits}\nseed: 3\n")
    assert config.load(path).seed == 3
    path.write_text("data: {name: digits}\nsede: 3\n")
    with pytest.raises(ConfigError) as error:
        config.load(path)
    assert str(error.value).startswith(f"{path}:2: sede: not a known key (did you mean 'seed'?).")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file or directory\).*darts preset digits"):
        config.load(tmp_path / "params.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"data: {name: digits} # caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: not UTF-8 text \(byte 26\)\. Save it as UTF-8"):
        config.load(tmp_path / "latin.yaml")
