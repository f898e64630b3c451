"""Files that a machine reads can be read, and those that people read name things that are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import stand

PAGES = ["docs/deploy.md", "docs/migrate.md", "deploy/helm/pointsman/README.md"]
# Templates are no YAML before Helm has read them.
YAML = sorted(
    path
    for pattern in ("*.yaml", "*.yml")
    for path in stand.DEPLOY.rglob(pattern)
    if "templates" not in path.parts
)


def listed(page: str) -> list[str]:
    """The paths of the repository that a page names, in links and elsewhere."""
    text = stand.read(page)
    folder = (stand.ROOT / page).parent
    links = [target for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text)]
    from_links = [str((folder / target).resolve().relative_to(stand.ROOT)) for target in links]
    named = re.findall(r"(?<![\w/.-])((?:deploy|docs|tests|routers|src)/[\w./-]*\w)", text)
    # deploy/.env is made by whoever deploys.
    return sorted({*from_links, *named} - {"deploy/.env"})


class NoKeyTwice(yaml.SafeLoader):
    """YAML's own loader takes the last of two."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), f"a key twice{node.start_mark}"
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(stand.DEPLOY)))
def test_yaml_can_be_read(path):
    documents = list(yaml.load_all(path.read_text(encoding="utf-8"), NoKeyTwice))
    assert documents and all(document is not None for document in documents)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    paths = listed(page)
    assert paths
    missing = [path for path in paths if not (stand.ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_anchors_lead_somewhere(page):
    folder = (stand.ROOT / page).parent
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", stand.read(page)):
        text = (folder / target if target else stand.ROOT / page).read_text(encoding="utf-8")
        headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")]
        assert anchor in headings, f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    commands = set(re.findall(r"(?:^|[`/ ])pointsman ((?:models |keys |tenants |ledger )?[a-z][a-z-]+)(?= |`|$)", stand.read(page), re.MULTILINE))
    known = subprocess.run([stand.BINARY, "help"], capture_output=True, text=True, timeout=60, check=True).stdout
    for command in commands:
        words = command.split()
        if re.search(rf"^  {words[0]} ", known, re.MULTILINE):
            done = subprocess.run([stand.BINARY, *words, "--help"], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, command


@pytest.mark.parametrize("page", PAGES)
def test_configurations_are_valid(page, tmp_path):
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", stand.read(page), re.DOTALL)):
        config = yaml.safe_load(block)
        if not isinstance(config, dict) or not {"models", "tenants"} <= config.keys():
            continue
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        checked = stand.check_config(file)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_readme_leads_to_the_pages():
    readme = stand.read("README.md")
    for page in ("docs/deploy.md", "docs/migrate.md"):
        assert f"({page})" in readme


def test_secrets_are_ignored():
    assert "/deploy/.env" in stand.read(".gitignore").splitlines()
    assert not list(Path(stand.DEPLOY).rglob(".env"))
