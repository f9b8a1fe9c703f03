"""Running models: what an engine is, and the engines."""
