"""Models as files: where they come from, where they lie, and which bytes a name means."""
