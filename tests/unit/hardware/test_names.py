import pytest

from darts_core.hardware.names import cpu_name, gpu_name, slug


@pytest.mark.parametrize(
    ("reported", "vendor", "arch", "units", "name"),
    [
        ("AMD Radeon RX 580 Series", "amd", "gfx803", 36, "Radeon RX 580"),
        ("Radeon (TM) RX 580 Series", "amd", "gfx803", 36, "Radeon RX 580"),
        ("AMD Radeon RX 580 Series", "amd", "gfx803", 32, "Radeon RX 580 2048SP"),
        ("Radeon RX 580 2048SP", "amd", "gfx803", 32, "Radeon RX 580 2048SP"),
        ("AMD Radeon RX 480 Graphics", "amd", "gfx803", 36, "Radeon RX 480 Graphics"),
        ("", "amd", "gfx803", 36, "Radeon RX 480/580"),
        ("AMD Radeon Graphics", "amd", "gfx803", 32, "Radeon RX 470/570/580 2048SP"),
        ("AMD Radeon (TM) Graphics", "amd", "gfx803", 14, "AMD GPU"),
        ("", "amd", None, None, "AMD GPU"),
        ("NVIDIA GeForce GTX 1080 Ti", "nvidia", "sm_61", 28, "GeForce GTX 1080 Ti"),
        ("", "nvidia", "sm_61", 28, "NVIDIA GPU"),
    ],
)
def test_gpu_names(reported, vendor, arch, units, name):
    assert gpu_name(reported, vendor=vendor, arch=arch, cu_count=units) == name


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("AMD Ryzen 5 3600 6-Core Processor", "AMD Ryzen 5 3600"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Intel Core i7-8700"),
        ("AMD EPYC", "AMD EPYC"),
        ("aarch64", "aarch64"),
    ],
)
def test_cpu_names(reported, name):
    assert cpu_name(reported) == name


def test_a_slug_is_safe_in_a_file_name_and_leaves_out_what_is_unknown():
    assert slug("amd", "gfx803", "36cu", "8g") == "amd-gfx803-36cu-8g"
    assert slug("nvidia", None, "28sm", None) == "nvidia-28sm"
    assert slug("cpu", "Intel Core i7-8700 / x", "2c") == "cpu-intel-core-i7-8700-x-2c"
