"""The unit is one, is as confined as it says, and fits its configuration."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import stand

UNIT = stand.DEPLOY / "systemd" / "pointsman.service"
CONFIG = stand.DEPLOY / "systemd" / "config.yaml"
# Of 10: what `systemd-analyze security` calls OK. What is left are the network and the files that it may read.
EXPOSURE_MAX = 1.5


def directives(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def directive(name: str) -> str:
    (value,) = directives(name)
    return value


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def installed(tmp_path, text: str | None = None):
    """The unit, naming a program that is there."""
    text = text or UNIT.read_text(encoding="utf-8")
    file = tmp_path / "pointsman.service"
    file.write_text(text.replace("/usr/local/bin/pointsman", str(stand.BINARY)), encoding="utf-8")
    return file


def test_systemd_takes_it(tmp_path):
    done = analyze("verify", str(installed(tmp_path)))
    assert done.returncode == 0 and "pointsman.service" not in done.stderr, done.stderr


def test_systemd_would_not_take_just_anything(tmp_path):
    broken = UNIT.read_text(encoding="utf-8").replace("ProtectSystem=strict", "ProtectSystem=strictly")
    assert "pointsman.service" in analyze("verify", str(installed(tmp_path, broken))).stderr


def test_it_is_confined(tmp_path):
    done = analyze("security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", str(installed(tmp_path)))
    if "unrecognized option" in done.stderr or "Unknown" in done.stderr:
        pytest.skip("this systemd-analyze judges no files")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_it_is_confined_as_it_should_be():
    assert directive("DynamicUser") == "yes" and directive("StateDirectory") == "pointsman"
    assert directive("ProtectSystem") == "strict" and directive("NoNewPrivileges") == "yes"
    assert directive("CapabilityBoundingSet") == "" and directive("AmbientCapabilities") == ""
    assert int(directive("LimitNOFILE")) >= 2 * 10_000


def test_it_stops_and_reloads():
    assert directive("KillSignal") == "SIGTERM"
    assert float(directive("TimeoutStopSec")) > stand.drain_seconds(stand.load("deploy/systemd/config.yaml"))
    check, hang_up = directives("ExecReload")
    config = directive("ExecStart").split()[-1]
    assert check.split()[1:] == ["check-config", config]
    assert hang_up == "/bin/kill -HUP $MAINPID"


def test_credentials_are_those_of_its_configuration(tmp_path):
    loaded = {name for name, _ in (credential.split(":", 1) for credential in directives("LoadCredential"))}
    text = CONFIG.read_text(encoding="utf-8")
    assert set(re.findall(r"file:\$\{CREDENTIALS_DIRECTORY\}/([\w-]+)", text)) == loaded
    assert "${" not in text.replace("${CREDENTIALS_DIRECTORY}", ""), "a unit has no other variables"
    for name in loaded:
        (tmp_path / name).write_text(f"secret-{name}\n", encoding="utf-8")
    checked = stand.check_config(CONFIG, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert checked.returncode == 0 and not stand.warnings(checked), checked.stdout + checked.stderr


def test_the_ledger_is_where_it_may_write():
    assert stand.load("deploy/systemd/config.yaml")["database"].startswith("sqlite:/var/lib/pointsman/")
