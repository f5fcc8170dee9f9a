"""The repository half: the only place that imports DVC and pygit2."""
