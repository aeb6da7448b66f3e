import json
from types import SimpleNamespace

import pytest
import torch

from darts_core.hardware import facts as facts_module
from darts_core.hardware.facts import check_arch_supported, describe, device_facts

GPU = torch.device("cuda", 0)
RX_580 = {
    "name": "AMD Radeon RX 580 Series",
    "gcnArchName": "gfx803:sramecc-:xnack-",
    "multi_processor_count": 36,
    "total_memory": 8192 * 2**20,
}
GTX_1080_TI = {"name": "NVIDIA GeForce GTX 1080 Ti", "major": 6, "minor": 1, "multi_processor_count": 28, "total_memory": 11172 * 2**20}


def plug_in(monkeypatch, properties, *, hip=None, archs=()):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**properties))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(archs))
    monkeypatch.setattr(torch.version, "hip", hip)


def test_rx_580(monkeypatch):
    plug_in(monkeypatch, RX_580, hip="5.7.31921")
    facts = device_facts(GPU)
    assert facts["description"] == "Radeon RX 580 / gfx803 / 36 CU"
    assert facts["slug"] == "amd-gfx803-36cu-8g"
    assert describe(GPU, num_threads=1) == facts["description"]
    wanted = {"type": "cuda", "backend": "rocm", "vendor": "amd", "arch": "gfx803", "cu_count": 36, "vram_mib": 8192}
    assert {key: facts[key] for key in wanted} == wanted
    assert facts["reported_name"] == "AMD Radeon RX 580 Series"
    assert facts["versions"]["hip"] == "5.7.31921"


def test_the_2048sp_is_told_by_its_compute_units(monkeypatch):
    plug_in(monkeypatch, RX_580 | {"multi_processor_count": 32}, hip="6.4")
    assert describe(GPU) == "Radeon RX 580 2048SP / gfx803 / 32 CU"


def test_gtx_1080_ti(monkeypatch):
    plug_in(monkeypatch, GTX_1080_TI)
    facts = device_facts(GPU)
    assert facts["description"] == "GeForce GTX 1080 Ti / sm_61 / 28 SM"
    assert (facts["backend"], facts["slug"], facts["vram_mib"]) == ("cuda", "nvidia-sm_61-28sm-11g", 11172)


def test_an_empty_name_and_missing_properties_are_not_guessed(monkeypatch):
    plug_in(monkeypatch, RX_580 | {"name": ""}, hip="6.4")
    assert describe(GPU) == "Radeon RX 480/580 / gfx803 / 36 CU"
    plug_in(monkeypatch, {}, hip="5.0")
    facts = device_facts(GPU)
    assert facts["description"] == "AMD GPU"
    assert facts["slug"] == "amd"
    assert [facts[key] for key in ("arch", "cu_count", "vram_mib")] == [None, None, None]
    plug_in(monkeypatch, {"name": "NVIDIA Tesla", "major": 7})
    assert describe(GPU) == "Tesla"


def test_the_cpu_of_this_machine():
    facts = device_facts(torch.device("cpu"))
    cores = facts["host"]["cores"]
    assert facts["description"] == f"{facts['name']} / {facts['arch']} / {cores} core{'s' if cores > 1 else ''}"
    assert (facts["backend"], facts["schema_version"]) == ("cpu", 1)
    assert cores >= 1
    whole = f"{cores} core{'s' if cores > 1 else ''}"
    assert describe(torch.device("cpu"), num_threads=1) == f"{facts['name']} / {facts['arch']} / 1 thread of {whole}"
    assert describe(torch.device("cpu"), num_threads=2).endswith(f" / 2 threads of {whole}")
    assert facts["host"]["ram_mib"] > 256
    assert facts["versions"]["torch"] == str(torch.__version__)
    assert json.loads(json.dumps(facts)) == facts


def test_a_cpu_by_its_cpuinfo(monkeypatch, tmp_path):
    info = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nflags\t\t: fpu avx2 fma avx512f\n"
    (tmp_path / "cpuinfo").write_text(info + "\nprocessor\t: 1\nmodel name\t: other\n")
    monkeypatch.setattr(facts_module, "_CPUINFO", tmp_path / "cpuinfo")
    facts = device_facts(torch.device("cpu"))
    assert (facts["vendor"], facts["name"], facts["host"]["isa"]) == ("intel", "Intel Xeon", ["avx2", "fma", "avx512f"])
    monkeypatch.setattr(facts_module, "_CPUINFO", tmp_path / "absent")
    facts = device_facts(torch.device("cpu"))
    assert facts["name"]
    assert (facts["vendor"], facts["host"]["isa"]) == (None, [])


def test_a_wheel_without_the_gpus_kernels_is_refused(monkeypatch):
    plug_in(monkeypatch, RX_580, hip="6.4", archs=["gfx900", "gfx906", "gfx1030"])
    with pytest.raises(
        ValueError, match=r"runtime\.device: .* no kernels for gfx803 \(Radeon RX 580\), only for gfx900, gfx906, gfx1030\."
    ):
        check_arch_supported(GPU)
    plug_in(monkeypatch, GTX_1080_TI, archs=["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"])
    with pytest.raises(ValueError, match="no kernels for sm_61"):
        check_arch_supported(GPU)


@pytest.mark.parametrize(
    ("major", "minor", "archs", "is_supported"),
    [
        (8, 6, ["sm_80"], True),
        (8, 9, ["sm_75", "sm_86"], True),
        (8, 0, ["sm_86"], False),
        (9, 0, ["sm_80", "sm_86"], False),
        (9, 0, ["sm_90a"], True),
        (10, 3, ["sm_100a"], False),
        (12, 1, ["sm_120"], True),
        (6, 1, ["compute_50"], True),
        (6, 1, ["compute_70"], False),
        (6, 1, [], True),
    ],
)
def test_nvidia_runs_earlier_code_of_its_major_version_and_any_earlier_ptx(monkeypatch, major, minor, archs, is_supported):
    plug_in(monkeypatch, GTX_1080_TI | {"major": major, "minor": minor}, archs=archs)
    if is_supported:
        check_arch_supported(GPU)
    else:
        with pytest.raises(ValueError, match="no kernels"):
            check_arch_supported(GPU)


def test_what_cannot_be_told_passes(monkeypatch):
    plug_in(monkeypatch, {}, hip="5.0", archs=["gfx900"])
    check_arch_supported(GPU)
    plug_in(monkeypatch, RX_580, hip="6.4", archs=["gfx803", "gfx900"])
    check_arch_supported(GPU)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: pytest.fail("the CPU needs no look at a GPU"))
    check_arch_supported(torch.device("cpu"))
