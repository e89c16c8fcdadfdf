"""What a specialist may call: one tool per file, and their registry."""
