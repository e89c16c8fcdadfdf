"""Pure transformers of a model's text as it streams: reasoning, tool calls, redaction."""
