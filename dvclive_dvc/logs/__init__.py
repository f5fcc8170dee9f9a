"""What a run logs, one module a kind: each checks its values and writes its own files."""
