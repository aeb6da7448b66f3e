import math

import pandas as pd
import pytest

from darts_core.report.benchmark import plot_benchmark


def table(networks=("searched", "resnet20", "random_0"), sizes=(1, 8, 64)):
    rows = []
    for k, network in enumerate(networks):
        for size in sizes:
            median = (k + 1.0) * (0.5 + 0.5 * size)
            rows.append((network, size, "ok", median, 1.1 * median, 1000 * size / median))
    return pd.DataFrame(rows, columns=["network", "batch_size", "status", "median_ms", "p90_ms", "throughput_img_s"])


@pytest.mark.parametrize("sizes", [(1,), (1, 8, 64), (1, 2, 4, 8, 16, 32, 64, 128, 256)])
def test_latency_and_throughput_by_batch_size(sizes, tmp_path, figures, is_readable):
    frame = table(sizes=sizes)
    plot_benchmark(frame, tmp_path / "benchmark.png", device="Radeon RX 580 / gfx803 / 36 CU")
    texts = is_readable()
    assert "Latency and throughput on Radeon RX 580 / gfx803 / 36 CU" in texts
    assert all(texts.count(network) == 2 for network in ("searched", "resnet20", "random_0"))
    latency, throughput = figures[0].axes
    assert (latency.get_ylabel(), throughput.get_ylabel()) == ("latency (ms)", "images a second")
    drawn = [line.get_ydata().tolist() for line in throughput.lines if line.get_marker() == "o"]
    assert drawn == [
        frame.loc[frame["network"] == network, "throughput_img_s"].tolist() for network in ("searched", "resnet20", "random_0")
    ]


def test_what_did_not_fit_is_left_out(tmp_path, figures, is_readable):
    frame = table()
    frame.loc[frame["batch_size"] == 64, ["median_ms", "p90_ms", "throughput_img_s"]] = math.nan
    plot_benchmark(frame, tmp_path / "benchmark.png", device="cpu")
    is_readable()
    assert figures[0].axes[0].get_xticks().tolist() == [1, 8]


def test_twenty_networks_have_room_for_their_names(tmp_path, is_readable):
    plot_benchmark(table(["searched", *(f"random_{k}" for k in range(19))]), tmp_path / "benchmark.png", device="cpu" * 60)
    is_readable()


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="Missing p90_ms"):
        plot_benchmark(table().drop(columns="p90_ms"), tmp_path / "benchmark.png", device="cpu")
    with pytest.raises(ValueError, match=r"lower benchmark_hw\.batch_sizes"):
        plot_benchmark(table().assign(median_ms=math.nan), tmp_path / "benchmark.png", device="cpu")


def test_the_file_is_written(tmp_path, png_size):
    assert min(png_size(plot_benchmark(table(), tmp_path / "new" / "benchmark.png", device="cpu"))) > 500


def test_of_several_figures_each_says_what_it_is_of(tmp_path, figures, is_readable):
    plot_benchmark(table(), tmp_path / "tokens.png", device="cpu", subject="a token at a time")
    assert "Latency and throughput, a token at a time, on cpu" in is_readable()
