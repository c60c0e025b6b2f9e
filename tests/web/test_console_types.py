"""The console's types are those of the API as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from flowstead.daemon.openapi import describe

WEB = Path(__file__).parents[2] / "web"


def test_the_types_are_generated_from_the_api_as_it_is(tmp_path: Path) -> None:
    generator = WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    node = shutil.which("node")
    if node is None or not generator.exists():
        pytest.skip("openapi-typescript is not installed: npm ci --prefix web")
    made = tmp_path / "schema.ts"
    command = [node, str(generator), "--default-non-nullable", "false", "-o", str(made)]
    done = subprocess.run(command, input=json.dumps(describe()), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kept = (WEB / "src" / "api" / "schema.ts").read_text("utf-8")
    assert made.read_text("utf-8") == kept, "the API has changed: npm run types --prefix web"
