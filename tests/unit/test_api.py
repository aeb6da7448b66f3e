import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import darts_core
from darts_core.config import ConfigError, from_mapping

CONFIG = {
    "seed": 3,
    "space": {"name": "darts_cnn", "init_channels": 2, "layers": 3, "nodes": 1, "primitives": ["none", "skip_connect", "sep_conv_3x3"]},
    "search": {"epochs": 2, "lr": 0.1},
}


def loader(count=12, *, seed=0, size=8, channels=2, shuffle=True):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(count, channels, size, size, generator=generator), torch.arange(count) % 3
    return DataLoader(TensorDataset(x, y), batch_size=6, shuffle=shuffle, generator=generator)


def search(train=None, valid=None, config=CONFIG, **options):
    return darts_core.search_architecture(
        loader() if train is None else train, loader(seed=1) if valid is None else valid, config, device="cpu", verbose=False, **options
    )


@pytest.fixture(scope="module")
def result():
    return search()


def test_a_search_gives_cells_accuracies_and_history(result):
    assert result.genotype.normal is result.normal
    assert len(result.normal.nodes) == len(result.reduce.nodes) == 1
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert 0.0 <= result.train_acc <= 100.0
    assert 0.0 <= result.valid_acc <= 100.0


def test_the_same_call_gives_the_same_result_whatever_the_default_generator_did(result):
    torch.rand(7)
    again = search()
    assert all(torch.equal(value, again.supernet_state[name]) for name, value in result.supernet_state.items())
    other = search(config={**CONFIG, "seed": 4})
    assert not torch.equal(other.supernet_state["stem.conv.weight"], result.supernet_state["stem.conv.weight"])


def test_config_may_be_a_file_an_object_or_a_mapping(result, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(
        "seed: 3\ndata: {name: digits}\nsearch: {epochs: 2, lr: 0.1}\n"
        "space: {name: darts_cnn, init_channels: 2, layers: 3, nodes: 1, primitives: [none, skip_connect, sep_conv_3x3]}\n"
    )
    from darts_core.components import COMPONENTS, cross_check

    cfg = from_mapping({**CONFIG, "data": {"name": "digits"}}, components=COMPONENTS, cross_check=cross_check)
    for config in (path, str(path), cfg):
        assert search(config=config).history == result.history


def test_classes_are_counted_in_both_loaders_or_given():
    assert search().supernet_state["classifier.bias"].shape == (3,)
    assert search(num_classes=7).supernet_state["classifier.bias"].shape == (7,)
    x = torch.randn(6, 2, 8, 8)
    assert search(valid=[(x, torch.full((6,), 4))]).supernet_state["classifier.bias"].shape == (5,)


def test_a_fault_in_the_configuration_is_named():
    with pytest.raises(ConfigError, match=r"search.epoch: not a known key \(did you mean 'epochs'\?\)"):
        search(config={**CONFIG, "search": {"epoch": 2}})
    with pytest.raises(ConfigError, match=r"space.layers must be at least 3"):
        search(config={**CONFIG, "space": {**CONFIG["space"], "layers": 1}})


X, Y = torch.randn(4, 2, 8, 8), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "train_loader: at least one batch expected. Got none."),
        ([X], r"train_loader: batches of \(images, labels\), two tensors, expected. Got Tensor."),
        ([(X, Y, Y)], r"train_loader: batches of \(images, labels\), two tensors, expected. Got tuple."),
        ([(X, [0, 1, 2, 0])], "two tensors, expected. Got tuple."),
        (
            [(X[0], Y)],
            r"float32 images \(B, C, H, W\) and int64 labels \(B,\) expected. Got torch.float32 \(2, 8, 8\) and torch.int64 \(4,\).",
        ),
        ([(X.double(), Y)], r"expected. Got torch.float64 \(4, 2, 8, 8\) .* images.float\(\)"),
        ([(X.half(), Y)], r"expected. Got torch.float16 \(4, 2, 8, 8\)"),
        ([(X.byte(), Y)], r"expected. Got torch.uint8 \(4, 2, 8, 8\)"),
        ([(X, Y[:3])], r"expected. Got .* torch.int64 \(3,\)."),
        ([(X, Y.float())], r"expected. Got .* torch.float32 \(4,\)."),
        (iter([(X, Y)]), "a loader that has a length and can be iterated again and again expected. Got list_iterator."),
        (((X, Y) for _ in range(2)), "can be iterated again and again expected. Got generator."),
    ],
)
def test_loaders_of_another_form_are_refused(loader, message):
    with pytest.raises(ValueError, match=message):
        search(train=loader)


@pytest.mark.parametrize("num_classes", [0, -3])
def test_there_is_at_least_one_class(num_classes):
    with pytest.raises(ValueError, match=rf"num_classes must be at least 1, or None .* Got {num_classes}\."):
        search(num_classes=num_classes)


@pytest.mark.parametrize("where", ["train", "valid"])
def test_a_last_batch_of_one_image_that_batch_norm_cannot_train_on(where):
    """Images of 4 pixels end in cells of one; those of 8 leave BatchNorm four values a channel."""
    single, even = loader(7, size=4, shuffle=False), loader(6, size=4, shuffle=False)
    with pytest.raises(ValueError, match=r"Got a batch of one\. Use drop_last=True"):
        search(train=single, valid=single if where == "valid" else even)
    assert search(train=loader(7, shuffle=False)).history


def test_a_generator_for_validation_would_run_dry():
    with pytest.raises(ValueError, match="valid_loader: a loader that has a length and can be iterated again and again"):
        search(valid=((X, Y) for _ in range(2)))


def test_both_loaders_have_the_same_channels():
    with pytest.raises(ValueError, match="valid_loader: images of 2 channels expected, as train_loader has them"):
        search(valid=loader(channels=3))


def test_the_package_offers_what_it_names_and_nothing_else():
    assert darts_core.__all__ == ["SearchResult", "search_architecture"]
    assert all(callable(getattr(darts_core, name)) for name in darts_core.__all__)
    with pytest.raises(AttributeError, match="module 'darts_core' has no attribute 'serach'"):
        darts_core.serach  # noqa: B018
