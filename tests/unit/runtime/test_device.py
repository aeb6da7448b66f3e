import re

import pytest
import torch

from darts_core.runtime import device as device_module
from darts_core.runtime.device import backend_name, resolve, synchronize


def see(monkeypatch, *, gpus, hip=None, cuda="12.8"):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.version, "cuda", cuda)


def test_auto_prefers_a_gpu_and_settles_for_the_cpu(monkeypatch):
    see(monkeypatch, gpus=0)
    assert resolve("auto") == torch.device("cpu")
    see(monkeypatch, gpus=1)
    assert resolve("auto") == torch.device("cuda", 0)
    assert resolve("cpu") == torch.device("cpu")


def test_cuda_is_the_first_and_a_number_is_kept(monkeypatch):
    see(monkeypatch, gpus=2)
    assert resolve("cuda") == torch.device("cuda", 0)
    assert resolve("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "Got 'gpu'"),
        ("cuda:x", "Got 'cuda:x'"),
        ("CPU", "Got 'CPU'"),
        ("", "Got ''"),
        ("hip:0", "ROCm card is called cuda"),
        ("cuda:2", "cuda:0 to cuda:1"),
    ],
)
def test_a_name_that_is_no_device_is_an_error_that_names_the_key(monkeypatch, name, said):
    see(monkeypatch, gpus=2)
    with pytest.raises(ValueError, match=rf"runtime\.device: .*{re.escape(said)}"):
        resolve(name)


def test_a_gpu_that_is_not_there_is_explained(monkeypatch):
    see(monkeypatch, gpus=0, cuda=None)
    with pytest.raises(ValueError, match=r"runtime\.device: 'cuda' asks for a GPU, but torch .* is built for the CPU alone"):
        resolve("cuda")
    see(monkeypatch, gpus=0)
    with pytest.raises(ValueError, match="sees none"):
        resolve("cuda:0")


def test_backend_tells_amd_from_nvidia(monkeypatch):
    see(monkeypatch, gpus=1)
    assert [backend_name(torch.device(name)) for name in ("cpu", "cuda")] == ["cpu", "cuda"]
    see(monkeypatch, gpus=1, hip="5.7.3", cuda=None)
    assert [backend_name(torch.device(name)) for name in ("cpu", "cuda")] == ["cpu", "rocm"]


def test_only_a_gpu_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(device_module.torch.cuda, "synchronize", waited.append)
    synchronize(torch.device("cpu"))
    synchronize(torch.device("cuda", 1))
    assert waited == [torch.device("cuda", 1)]
