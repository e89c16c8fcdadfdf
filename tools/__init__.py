"""What a specialist may call: one tool per file, and their registry.

A user's tool file imports from here what it needs: :func:`safe_to_repeat` declares that a second
call does no harm, :func:`idempotency_key` is what a tool gives to a service so that it does none.
"""

from __future__ import annotations

from rolecall.tools.functions import safe_to_repeat
from rolecall.tools.idempotency import idempotency_key

__all__ = ["idempotency_key", "safe_to_repeat"]
