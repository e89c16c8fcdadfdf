"""LiteLLM's Router for ``client_overhead``; runs in LiteLLM's own environment.

Reads commands, one a line: ``httpx`` or ``router`` makes one call and prints its milliseconds,
``burst N`` makes N at once and prints calls per second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

import httpx
import litellm

_QUESTION = {"role": "user", "content": "What is the capital of Peru?"}


async def main(url: str) -> None:
    """Answer commands until standard input ends."""
    where = {"model": "openai/tiny", "api_base": f"{url}/v1", "api_key": "none"}
    router = litellm.Router(
        model_list=[{"model_name": "tiny", "litellm_params": where}], num_retries=0
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with httpx.AsyncClient(trust_env=False) as http:
        while command := (await lines.readline()).decode().split():
            started = time.perf_counter()
            if command[0] == "burst":
                count = int(command[1])
                await asyncio.gather(*(_call(router) for _ in range(count)))
                number = count / (time.perf_counter() - started)
            else:
                await (_call(router) if command[0] == "router" else _plain(http, url))
                number = (time.perf_counter() - started) * 1000
            print(number, flush=True)


async def _call(router: Any) -> Any:
    reply = await router.acompletion(model="tiny", messages=[_QUESTION])
    return reply.choices[0].message.content


async def _plain(http: httpx.AsyncClient, url: str) -> Any:
    body = {"model": "tiny", "messages": [_QUESTION]}
    reply = await http.post(f"{url}/v1/chat/completions", json=body)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
