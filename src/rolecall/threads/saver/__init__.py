"""A checkpointer for LangGraph on SQLite: small, quick, prunable, and strict about what it reads.

async with ThreadSaver.open("threads.db") as saver:
    graph = builder.compile(checkpointer=saver)
"""

from rolecall.threads.saver.saver import ThreadSaver
from rolecall.threads.saver.serializer import StrictSerializer

__all__ = ["StrictSerializer", "ThreadSaver"]
