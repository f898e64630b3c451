"""`pointsman demo`: what it prints works when pasted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import openai
import pytest

import gateway as stand
from conftest import user


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A running demo and what it printed first: everything up to the end of the Python snippet."""
    program = stand.Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path_factory.mktemp("demo"))
    program.wait_line(r"from openai import OpenAI")
    program.wait_line(r"print\(")
    yield program
    assert program.stop() == 0
    assert "panicked" not in program.said()


def base_url(demo) -> str:
    """The printed base URL."""
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", demo.said())
    assert found, demo.said()
    return found.group(0)


def printed_command(lines: list[str]) -> str:
    """The `curl` line, with its continuation lines."""
    start = next(number for number, line in enumerate(lines) if line.strip().startswith("curl "))
    command = [lines[start].strip()]
    while command[-1].endswith("\\") and start + len(command) < len(lines):
        command.append(lines[start + len(command)])
    return "\n".join(command)


def printed_snippet(lines: list[str]) -> str:
    """The Python snippet: from its import to the next blank line."""
    start = next(number for number, line in enumerate(lines) if "from openai import OpenAI" in line)
    block = []
    for line in lines[start:]:
        if not line.strip():
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


def answers_in(output: str) -> str:
    """The content of a whole or streamed chat answer."""
    events = [line.removeprefix("data: ") for line in output.splitlines() if line.startswith("data: {")]
    if events:
        return "".join(
            choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]
        )
    return json.loads(output)["choices"][0]["message"]["content"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_line(demo):
    command = printed_command(demo.lines)
    assert base_url(demo) in command
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stderr)
    assert answers_in(done.stdout).strip()


def test_the_python_snippet(demo, tmp_path: Path):
    snippet = printed_snippet(demo.lines)
    assert base_url(demo) in snippet and len(snippet.splitlines()) <= 8
    file = tmp_path / "snippet.py"
    file.write_text(snippet)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (snippet, done.stderr)
    assert done.stdout.strip()


def client_of(demo) -> openai.OpenAI:
    """A client with the key that the snippet shows."""
    key = re.search(r"api_key=[\"']([^\"']+)[\"']", demo.said())
    return openai.OpenAI(base_url=base_url(demo), api_key=key.group(1) if key else "demo", max_retries=0, timeout=30)


def test_three_models_that_report_usage(demo):
    with client_of(demo) as client:
        assert {"small", "medium", "large"} <= {model.id for model in client.models.list()}
        for name in ("small", "medium", "large"):
            answer = client.chat.completions.create(model=name, messages=user("Tell me about railways."))
            assert answer.model == name and answer.choices[0].message.content.strip()
            assert answer.usage.completion_tokens > 0 and answer.usage.prompt_tokens > 0


def test_it_streams(demo):
    with client_of(demo) as client:
        options = {"include_usage": True}
        chunks = list(
            client.chat.completions.create(model="auto", messages=user("Hello"), stream=True, stream_options=options)
        )
    tokens = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(tokens) > 3 and chunks[-1].usage.completion_tokens > 0


def test_a_live_line_per_request(demo):
    """Prompt start, chosen model, win rates, microseconds spent deciding."""
    with client_of(demo) as client:
        answer = client.chat.completions.create(model="auto", messages=user("Quokkas and zebras: who would win?"))
    line = demo.wait_line(r".*Quokkas and zebras.*", 10).group(0)
    assert answer.model in line
    assert re.search(r"\d\s*(µs|us)\b", line), line
    assert re.search(r"\b0?\.\d+|\d\s*%", line), f"no win rates: {line}"


def test_both_ends_of_the_threshold(demo):
    with client_of(demo) as client:
        names = [client.chat.completions.create(model=f"router-mf-{t}", messages=user("hi")).model for t in (0, 1)]
    assert names == ["large", "small"]
