"""The compose file: valid, closed but for what it says, and of one mind with the files that it mounts."""

from __future__ import annotations

import copy
import importlib.resources
import json
import re
import shutil
import struct
import subprocess

import jsonschema
import pytest
import yaml

import stand

COMPOSE = stand.load("deploy/compose.yaml")
SERVICES = COMPOSE["services"]
CONFIG = stand.load("deploy/config/pointsman-compose.yaml")
PROMETHEUS = stand.load("deploy/prometheus/prometheus.yml")


def schema():
    file = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(content)(content)


def mounts(service: str) -> dict[str, str]:
    """Where what is mounted comes from, by its place in the container."""
    volumes = [volume.split(":") for volume in SERVICES[service].get("volumes", [])]
    return {place: source for source, place, *_ in volumes}


def networks_of(service: str) -> set[str]:
    return set(SERVICES[service]["networks"])


def test_it_is_a_compose_file():
    errors = [f"{error.json_path}: {error.message}" for error in schema().iter_errors(COMPOSE)]
    assert not errors


def test_the_schema_refuses_what_is_none():
    for service, key, value in [("gateway", "readonly", True), ("redis", "cap_drop", "ALL"), ("postgres", "healthcheck", [])]:
        broken = copy.deepcopy(COMPOSE)
        broken["services"][service][key] = value
        assert list(schema().iter_errors(broken)), key


def test_docker_takes_it(tmp_path):
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker compose")
    command = ["docker", "compose", "--file", str(stand.DEPLOY / "compose.yaml"), "--env-file"]
    filled = re.sub(r"^(\w+)=$", r"\1=placeholder", stand.read("deploy/.env.example"), flags=re.MULTILINE)
    (tmp_path / "env").write_text(filled, encoding="utf-8")
    done = subprocess.run([*command, str(tmp_path / "env"), "config", "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "/dev/null", "config", "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "deploy/.env" in done.stderr


def test_images_have_versions():
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", service["image"]), name
    assert SERVICES["gateway"]["image"] == f"pointsman:{stand.version()}"
    build = SERVICES["gateway"]["build"]
    assert (stand.DEPLOY / build["context"] / build["dockerfile"]).samefile(stand.DEPLOY / "Dockerfile")


def test_every_service_is_confined():
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in service and "privileged" not in service, name
    gateway = SERVICES["gateway"]
    assert gateway["read_only"] is True and gateway["user"] == "65532:65532"


def test_the_gateways_own_volume_is_its_users():
    """A new volume has the owner of the folder that it is mounted on; nothing in the container could change it."""
    container = stand.read("deploy/Dockerfile")
    assert re.search(r"^COPY .*--chown=65532:65532 /data /data$", container, re.MULTILINE)
    assert mounts("gateway")["/data"] in COMPOSE["volumes"]
    assert CONFIG["spill"].startswith("/data/")


def test_the_image_needs_no_library(tmp_path):
    """The flags of the build make a program that the kernel starts alone, and that looks up names."""
    lines = stand.read("deploy/Dockerfile")
    (flags,) = re.findall(r'^ENV RUSTFLAGS="(.*)"$', lines, re.MULTILINE)
    assert '--target "$target"' in lines and re.findall(r"^FROM (\S+)", lines, re.MULTILINE)[-1].startswith(
        "gcr.io/distroless/static-debian13:"
    )
    (tmp_path / "main.rs").write_text(
        'use std::net::ToSocketAddrs;\nfn main() { assert!(("localhost", 80).to_socket_addrs().unwrap().count() > 0) }\n'
    )
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = re.search(r"^host: (.*)$", version, re.MULTILINE).group(1)
    program = tmp_path / "main"
    command = ["rustc", "--target", host, *flags.split(), "-o", str(program), str(tmp_path / "main.rs")]
    subprocess.run(command, check=True)
    # A 64-bit ELF file that the kernel cannot start alone has a segment that names who can (PT_INTERP, 3).
    elf = program.read_bytes()
    (table,), (size, count) = struct.unpack_from("<Q", elf, 32), struct.unpack_from("<HH", elf, 54)
    assert 3 not in [struct.unpack_from("<I", elf, table + size * entry)[0] for entry in range(count)]
    subprocess.run([str(program)], check=True)


def test_nothing_is_published_beyond_this_machine():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or port.startswith("${POINTSMAN_PUBLISH:-127.0.0.1:"), f"{name}: {port}"
    published = {name for name, service in SERVICES.items() if service.get("ports")}
    assert published == {"gateway", "prometheus", "grafana"}


def test_each_reaches_whom_it_must():
    assert COMPOSE["networks"]["database"]["internal"] and COMPOSE["networks"]["cache"]["internal"]
    assert networks_of("postgres") == {"database"} and networks_of("redis") == {"cache"}
    for network, members in {
        "database": {"gateway", "postgres"},
        "cache": {"gateway", "redis"},
        "monitoring": {"gateway", "prometheus", "grafana"},
        "clients": {"gateway"},
    }.items():
        assert {name for name in SERVICES if network in networks_of(name)} == members


def test_the_gateway_is_healthy_as_its_image_says():
    words = re.search(r"^HEALTHCHECK (.*) CMD (.*)$", stand.read("deploy/Dockerfile"), re.MULTILINE)
    options = dict(re.findall(r"--([\w-]+)=(\S+)", words.group(1)))
    check = dict(SERVICES["gateway"]["healthcheck"])
    assert check.pop("test") == ["CMD", *json.loads(words.group(2))]
    assert check == {name.replace("-", "_"): value for name, value in options.items()}
    assert CONFIG["listen"].endswith(":8080"), "what `pointsman health` asks"


def test_the_gateway_may_end_in_good_order():
    assert stand.seconds(SERVICES["gateway"]["stop_grace_period"]) > stand.drain_seconds(CONFIG)


def test_it_waits_for_its_database():
    assert SERVICES["gateway"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["postgres"]["healthcheck"]["test"][1] == "pg_isready"


def test_the_configuration_is_mounted_and_has_its_variables():
    command = SERVICES["gateway"]["command"]
    place = command[command.index("--config") + 1]
    folder, name = place.rsplit("/", 1)
    assert (stand.DEPLOY / mounts("gateway")[folder] / name).samefile(stand.DEPLOY / "config" / "pointsman-compose.yaml")
    used = set(stand.VARIABLE.findall(stand.read("deploy/config/pointsman-compose.yaml")))
    assert used == set(SERVICES["gateway"]["environment"])


def test_it_names_services_that_are_there():
    for url, service in [(CONFIG["database"], "postgres"), (CONFIG["redis"], "redis")]:
        assert re.search(r"@(\w+):", url).group(1) == service
        assert networks_of(service) & networks_of("gateway")


def test_no_secret_has_a_default():
    text = stand.read("deploy/compose.yaml")
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == {"OPENAI_API_KEY", "TEAM_KEY", "ADMIN_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_ADMIN_PASSWORD"}
    assert set(re.findall(r"\$\{(\w+)(?!:\?)\W", text)) - asked == {"POINTSMAN_PUBLISH"}
    example = stand.read("deploy/.env.example")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == asked, "each is there, without a value"


def test_redis_forgets_kept_answers_first():
    lines = COMPOSE["configs"]["redis"]["content"].splitlines()
    policy = next(line.split()[1] for line in lines if line.startswith("maxmemory-policy"))
    assert f"`{policy}`" in stand.read("docs/fleet.md")
    assert any(line.startswith("maxmemory ") for line in lines) and 'save ""' in lines
    assert any(line.startswith("requirepass ") for line in lines)


def test_prometheus_asks_the_operators_listener():
    (job,) = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "pointsman"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"gateway:{CONFIG['admin_listen'].rsplit(':', 1)[1]}"
    assert CONFIG["admin_listen"].startswith("0.0.0.0:")
    assert networks_of("prometheus") & networks_of("gateway")
    (rules,) = PROMETHEUS["rule_files"]
    assert mounts("prometheus")["/etc/prometheus"] == "./prometheus" and rules == "/etc/prometheus/rules/*.yml"


def test_prometheus_takes_its_configuration():
    if not shutil.which("promtool"):
        pytest.skip("no promtool")
    done = subprocess.run(
        ["promtool", "check", "config", stand.DEPLOY / "prometheus" / "prometheus.yml"],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_lets_nobody_in_unasked():
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false" and environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?")


def test_grafana_finds_prometheus_and_the_dashboards():
    provisioning = stand.DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["uid"] == "prometheus" and source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pointsman.yaml").read_text("utf-8"))["providers"]
    assert mounts("grafana")[provider["options"]["path"]] == "./grafana/dashboards"
    assert mounts("grafana")["/etc/grafana/provisioning"] == "./grafana/provisioning"


def test_dashboards_name_the_datasource_by_its_uid():
    dashboards = sorted((stand.DEPLOY / "grafana" / "dashboards").glob("*.json"))
    if not dashboards:
        pytest.skip("no dashboards in deploy/grafana/dashboards")
    for dashboard in dashboards:
        content = json.loads(dashboard.read_text(encoding="utf-8"))
        variables = {variable["name"] for variable in content.get("templating", {}).get("list", []) if variable["type"] == "datasource"}
        known = {"prometheus", "-- Grafana --", "grafana", *(f"${{{name}}}" for name in variables), *(f"${name}" for name in variables)}

        def named(node):
            if isinstance(node, dict):
                if isinstance(node.get("datasource"), dict) and "uid" in node["datasource"]:
                    yield node["datasource"]["uid"]
                node = list(node.values())
            if isinstance(node, list):
                for item in node:
                    yield from named(item)

        assert set(named(content)) <= known, dashboard.name
