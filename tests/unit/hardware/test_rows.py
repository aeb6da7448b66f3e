from darts_core.hardware.memory import ForwardMemory
from darts_core.hardware.rows import Row, benchmark_metrics, rows_to_frame
from darts_core.hardware.statistics import Ratio, summarise


def row(network, batch_size, milliseconds, *, reserved=None, is_complete=True):
    return Row(
        network=network,
        batch_size=batch_size,
        status="ok",
        protocol="quick",
        memory_format="channels_last",
        num_threads=2,
        latency=summarise([[milliseconds] * 4]),
        ratio=Ratio(ratio=1.0, ratio_low=0.9, ratio_high=1.1),
        noise_floor=0.02,
        is_stable=True,
        is_complete=is_complete,
        first_inference_ms=33.0,
        memory=ForwardMemory(peak_memory_mib=5.0 * batch_size, reserved_memory_mib=reserved),
    )


def oom(network, batch_size):
    return Row(network=network, batch_size=batch_size, status="oom", protocol="quick", memory_format="channels_last", num_threads=2)


def test_throughput_is_images_over_the_median():
    assert row("searched", 64, 32.0).throughput_img_s == 2000.0
    assert oom("searched", 64).throughput_img_s is None


def test_the_table_has_the_same_columns_with_and_without_a_measurement():
    frame = rows_to_frame([row("searched", 1, 2.0), oom("resnet20", 1)])
    assert list(frame["network"]) == ["searched", "resnet20"]
    assert list(frame["status"]) == ["ok", "oom"]
    wanted = {
        "n",
        "median_ms",
        "median_low_ms",
        "p90_ms",
        "p99_ms",
        "is_p99_reliable",
        "throughput_img_s",
        "ratio",
        "ratio_low",
        "noise_floor",
    }
    assert wanted | {"peak_memory_mib", "first_inference_ms", "is_stable", "is_complete", "protocol_version", "memory_format"} <= set(
        frame.columns
    )
    assert list(rows_to_frame([oom("a", 1)]).columns) == list(frame.columns)
    assert frame["median_ms"].isna().tolist() == [False, True]
    assert frame["num_threads"].tolist() == [2, 2]


def test_metrics_of_the_searched_network_have_no_prefix_and_the_baselines_few():
    rows = [row("searched", 1, 2.0), row("resnet20", 1, 4.0), row("searched", 64, 32.0), row("resnet20", 64, 16.0)]
    assert benchmark_metrics(rows) == {
        "latency_ms_bs1": 2.0,
        "latency_p90_ms_bs1": 2.0,
        "latency_p99_ms_bs1": 2.0,
        "throughput_bs1": 500.0,
        "peak_memory_mib_bs1": 5.0,
        "latency_ms_bs64": 32.0,
        "latency_p90_ms_bs64": 32.0,
        "latency_p99_ms_bs64": 32.0,
        "throughput_bs64": 2000.0,
        "peak_memory_mib_bs64": 320.0,
        "first_inference_ms": 33.0,
        "resnet20_latency_ms_bs1": 4.0,
        "resnet20_throughput_bs64": 4000.0,
        "resnet20_peak_memory_mib_bs64": 320.0,
        "resnet20_first_inference_ms": 33.0,
        "benchmark_num_threads": 2,
    }


def test_a_tail_is_not_told_from_too_few_samples():
    assert sorted(benchmark_metrics([row("searched", 1, 2.0, is_complete=False)])) == [
        "benchmark_num_threads",
        "first_inference_ms",
        "latency_ms_bs1",
        "peak_memory_mib_bs1",
        "throughput_bs1",
    ]


def test_what_did_not_fit_is_absent_and_reserved_memory_is_there_on_a_gpu():
    metrics = benchmark_metrics([row("searched", 1, 2.0, reserved=64.0), oom("searched", 8), oom("resnet20", 1)])
    assert metrics["reserved_memory_mib_bs1"] == 64.0
    assert not [name for name in metrics if "bs8" in name or "resnet20" in name]
