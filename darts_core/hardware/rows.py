"""One row of a benchmark, the table of all rows, and the few numbers that stand for them in DVC and MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from darts_core.hardware.latency import PROTOCOL_VERSION
from darts_core.hardware.memory import ForwardMemory
from darts_core.hardware.statistics import Ratio, Summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network at one batch size. Where ``status`` is ``oom`` nothing was measured, and the rest is None.

    ``ratio`` is against the first network, None where that one did not fit; within 1 +- ``noise_floor`` no difference is claimed.
    ``is_stable``: the warm-up settled. ``is_complete``: as many samples as the protocol asks for; fewer where one takes long.
    ``num_threads`` is what torch computed with on the CPU. ``device_median_ms`` is the GPU's own clock, None on a CPU.
    ``first_inference_ms`` is for a batch of one. ``steps`` are the tokens of a text that an input has in each column, 1 for images.
    """

    network: str
    batch_size: int
    status: Literal["ok", "oom"]
    protocol: str
    memory_format: str
    num_threads: int
    steps: int = 1
    latency: Summary | None = None
    device_median_ms: float | None = None
    ratio: Ratio | None = None
    noise_floor: float | None = None
    is_stable: bool | None = None
    is_complete: bool | None = None
    first_inference_ms: float | None = None
    memory: ForwardMemory | None = None

    @property
    def throughput_img_s(self) -> float | None:
        """Images, or tokens, a second at the median latency."""
        return None if self.latency is None else self.steps * self.batch_size / self.latency.median_ms * 1000.0


def rows_to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows as a table with the same columns for every status; what was not measured is empty."""
    import pandas as pd

    return pd.DataFrame([_flat(row) for row in rows])


def _flat(row: Row) -> dict[str, Any]:
    return {
        "network": row.network,
        "batch_size": row.batch_size,
        "status": row.status,
        **_columns(Summary, row.latency),
        "throughput_img_s": row.throughput_img_s,
        **_columns(Ratio, row.ratio),
        "noise_floor": row.noise_floor,
        **_columns(ForwardMemory, row.memory),
        "first_inference_ms": row.first_inference_ms,
        "device_median_ms": row.device_median_ms,
        "is_stable": row.is_stable,
        "is_complete": row.is_complete,
        "memory_format": row.memory_format,
        "num_threads": row.num_threads,
        "protocol": row.protocol,
        "protocol_version": PROTOCOL_VERSION,
    }


def _columns(kind: type[Summary] | type[Ratio] | type[ForwardMemory], part: Summary | Ratio | ForwardMemory | None) -> dict[str, Any]:
    return {field.name: None for field in fields(kind)} if part is None else asdict(part)


def benchmark_metrics(rows: Sequence[Row]) -> dict[str, float]:
    """Return the metrics of metrics.json; what was not measured is absent.

    Of ``searched`` all batch sizes: latency_ms_bs1, throughput_bs1, peak_memory_mib_bs1, on a GPU reserved_memory_mib_bs1; where samples
    are complete latency_p90_ms_bs1 and latency_p99_ms_bs1 (from fewer than 1000 an indication: is_p99_reliable in the table); and
    first_inference_ms. For all networks benchmark_num_threads.
    Of another network, with its name before: latency at its smallest batch size, throughput and memory at its largest, first inference.
    """
    metrics: dict[str, float | None] = {}
    for network in dict.fromkeys(row.network for row in rows):
        measured = [row for row in rows if row.network == network and row.status == "ok"]
        if not measured:
            continue
        if network == "searched":
            metrics["first_inference_ms"] = measured[0].first_inference_ms
            for row in measured:
                metrics |= _median(row) | (_tail(row) if row.is_complete else {}) | _size(row)
        else:
            few = _median(measured[0]) | _size(measured[-1]) | {"first_inference_ms": measured[0].first_inference_ms}
            metrics |= {f"{network}_{name}": value for name, value in few.items()}
    if rows:
        metrics["benchmark_num_threads"] = rows[0].num_threads
    return {name: value for name, value in metrics.items() if value is not None}


def language_metrics(one_token: Sequence[Row], windows: Sequence[Row]) -> dict[str, float]:
    """Return the metrics of metrics.json for language models, as :func:`benchmark_metrics` has them.

    Latencies are of ``one_token``: of a token in each column; throughputs, in tokens a second, and memory of ``windows`` of a text.
    """
    found = {key: value for key, value in benchmark_metrics(one_token).items() if "throughput" not in key and "_memory_" not in key}
    return found | {key: value for key, value in benchmark_metrics(windows).items() if "throughput" in key or "_memory_" in key}


def shown(rows: Sequence[Row], *, tokens: int | None = None) -> dict[str, float]:
    """Return the median latencies for a progress line; ``tokens`` are those of a text that is read at once."""
    of = "" if tokens is None else f" x {tokens} token{'s' if tokens > 1 else ''}"
    return {f"{row.network} bs{row.batch_size}{of} ms": row.latency.median_ms for row in rows if row.latency is not None}


def _median(row: Row) -> dict[str, float | None]:
    return {f"latency_ms_bs{row.batch_size}": row.latency.median_ms if row.latency else None}


def _tail(row: Row) -> dict[str, float | None]:
    return {
        f"latency_p90_ms_bs{row.batch_size}": row.latency.p90_ms if row.latency else None,
        f"latency_p99_ms_bs{row.batch_size}": row.latency.p99_ms if row.latency else None,
    }


def _size(row: Row) -> dict[str, float | None]:
    return {
        f"throughput_bs{row.batch_size}": row.throughput_img_s,
        f"peak_memory_mib_bs{row.batch_size}": row.memory.peak_memory_mib if row.memory else None,
        f"reserved_memory_mib_bs{row.batch_size}": row.memory.reserved_memory_mib if row.memory else None,
    }
