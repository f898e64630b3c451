"""Every configuration that is shipped is one."""

from __future__ import annotations

import pytest
import yaml

import stand

SAMPLES = sorted((stand.DEPLOY / "config").glob("pointsman*.yaml"))


def test_the_samples_are_there():
    names = {sample.stem.removeprefix("pointsman").removeprefix("-") for sample in SAMPLES}
    assert names >= {"", "minimal", "local", "openai-anthropic", "ollama", "vllm", "azure", "compose"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_it_is_valid(sample):
    checked = stand.check_config(sample)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # Redis is on a network of its own there.
    expected = 1 if sample.stem == "pointsman-compose" else 0
    assert len(stand.warnings(checked)) == expected, checked.stdout


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_placeholders_do_too(sample):
    """As .ci/run gives them: the form of no variable may matter."""
    names = set(stand.VARIABLE.findall(sample.read_text(encoding="utf-8")))
    checked = stand.check_config(sample, {name: "placeholder" for name in names})
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_nothing_listens_to_strangers_without_a_key(sample):
    config = yaml.safe_load(sample.read_text(encoding="utf-8"))
    is_open = any(tenant.get("open") for tenant in config["tenants"].values())
    assert not is_open or config["listen"].startswith("127.0.0.1:")
    admin = config.get("admin_listen", "127.0.0.1:0")
    assert admin.startswith("127.0.0.1:") or config["admin_keys"]


def test_a_broken_one_is_refused(tmp_path):
    sample = (stand.DEPLOY / "config" / "pointsman-vllm.yaml").read_text(encoding="utf-8")
    for right, wrong, is_warned_of in [
        # Answered by name alone, then: no error.
        ("rated_as: llama-3.1-8b-instruct", "rated_as: llama-3.1-8b-instrukt", True),
        ("strong_share: 0.3", "strong_share: 3", False),
        ("continuation: vllm", "continuation: vlm", False),
    ]:
        assert right in sample
        file = tmp_path / "broken.yaml"
        file.write_text(sample.replace(right, wrong), encoding="utf-8")
        checked = stand.check_config(file)
        assert stand.warnings(checked) if is_warned_of else checked.returncode == 1, wrong
    unset = stand.check_config(stand.DEPLOY / "config" / "pointsman-vllm.yaml", {})
    assert unset.returncode == 1 and "VLLM_API_KEY" in unset.stdout
