"""What a llama.cpp server says about its own work, asked over loopback.

The standard library's client is used: proxies from the environment must not see these requests,
and importing it costs nothing.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass

_WORKING = ("requests_processing", "requests_deferred")
_COUNTERS = (
    "prompt_tokens_total",
    "prompt_tokens_cached_total",
    "tokens_predicted_total",
    "n_decode_total",
)


@dataclass(frozen=True)
class Activity:
    """One reading.

    Attributes:
        requests: running and waiting now.
        work_done: grows with every token; equal readings mean that nothing happened between.
    """

    requests: int
    work_done: int

    @property
    def busy(self) -> bool:
        """Whether a request is running or waiting."""
        return self.requests > 0


def healthy(port: int, timeout_s: float = 5.0) -> bool:
    """Whether ``/health`` answers 200."""
    answer = _get(port, "/health", "", timeout_s)
    return answer is not None and answer[0] == 200


def read_activity(port: int, api_key: str, timeout_s: float = 10.0) -> Activity | None:
    """Read ``/metrics``; ``None`` when the server does not answer."""
    answer = _get(port, "/metrics", api_key, timeout_s)
    if answer is None or answer[0] != 200:
        return None
    return parse_metrics(answer[1])


def parse_metrics(text: str) -> Activity:
    """Parse llama.cpp's metrics (Prometheus text format)."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name.startswith("llamacpp:"):
            values[name.removeprefix("llamacpp:")] = float(number)
    return Activity(
        requests=int(sum(values.get(name, 0) for name in _WORKING)),
        work_done=int(sum(values.get(name, 0) for name in _COUNTERS)),
    )


def _get(port: int, path: str, api_key: str, timeout_s: float) -> tuple[int, str] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {api_key}"})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
