"""The README tells the truth where a machine can tell."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import gateway as stand

README = (stand.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_configuration_is_valid(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "readme.yaml"
    file.write_text(block, encoding="utf-8")
    secrets = {name: "placeholder" for name in re.findall(r"\$\{(\w+)\}", block)}
    done = subprocess.run(
        [stand.BINARY, "check-config", file],
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (stand.ROOT / target).exists(), target


@pytest.mark.parametrize("command", re.findall(r"^(?:cargo run --release --|pointsman) ([\w-]+)", README, re.MULTILINE))
def test_commands_exist(command):
    done = subprocess.run([stand.BINARY, command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
