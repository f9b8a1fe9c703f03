"""Whatever a command prints with `--json` in these tests is judged by its schema."""

from tests.json_schemas.judging import judged as judged
