"""The chart: rendered by Helm itself with several sets of values, held against the API of Kubernetes, and against what it promises."""

from __future__ import annotations

import copy
import hashlib
import json
import re

import pytest
import yaml

import stand

# The oldest that Chart.yaml allows, one between, the newest that there are schemas of.
KUBERNETES = ["1.27", "1.31", "1.37"]
TENANTS = {"team": {"keys": [{"hash": "sha256:" + hashlib.sha256(b"key").hexdigest()}], "pool": ["gpt-4o", "gpt-4o-mini"]}}
DIGEST = "sha256:" + "0" * 64
RULES = """
groups:
  - name: pointsman
    rules:
      - alert: Down
        expr: up{job="pointsman"} == 0
        annotations: {summary: "{{ $labels.pod }} is down"}
"""
SETS = {
    "defaults": {},
    "small": {
        "replicaCount": 1,
        "config": {"database": "sqlite:/data/pointsman.db", "redis": None, "tenants": TENANTS},
        "secrets": {"create": {"OPENAI_API_KEY": "sk-in-a-secret", "ADMIN_KEY": "admin-in-a-secret"}},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "data": {"existingClaim": "ledger"},
        "serviceAccount": {"create": False},
    },
    "fleet": {
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 30, "cpuUtilization": 80},
        "secrets": {"existingSecret": "pointsman-keys"},
        "image": {"repository": "registry.example:5000/llm/pointsman", "digest": DIGEST},
        "imagePullSecrets": [{"name": "registry"}],
        "config": {"tenants": TENANTS, "server": {"max_concurrent_requests": 1_000_000}},
        "drain": {"delay": 0, "timeout": 300},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
            "hosts": ["llm.example.com"],
            "tls": [{"secretName": "llm", "hosts": ["llm.example.com"]}],
        },
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
            "prometheusRule": {"enabled": True, "files": {"pointsman": RULES}},
        },
        "networkPolicy": {
            "postgres": {"to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]},
            "redis": {"port": 0},
            "clients": [{"namespaceSelector": {}}],
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 8000}]}],
        },
        "service": {"type": "LoadBalancer", "port": 443},
        "podLabels": {"team": "platform"},
        "podAnnotations": {"example.com/x": "y"},
        "priorityClassName": "high",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "llm", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
        "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        "restartOnConfigChange": False,
    },
}


def merged(base: dict, over: dict) -> dict:
    """As Helm merges values: maps by key, the rest replaced, null takes away."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


@pytest.fixture(params=SETS)
def manifests(request):
    return stand.render(SETS[request.param])


def of(manifests: list[dict], kind: str, suffix: str = "") -> dict:
    found = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == f"demo-pointsman{suffix}"]
    assert len(found) == 1, f"{kind}{suffix}: {len(found)}"
    return found[0]


def has(manifests: list[dict], kind: str) -> bool:
    return any(item["kind"] == kind for item in manifests)


def pod(manifests: list[dict]) -> dict:
    return of(manifests, "Deployment")["spec"]["template"]["spec"]


def container(manifests: list[dict]) -> dict:
    (only,) = pod(manifests)["containers"]
    return only


def configuration(manifests: list[dict]) -> dict:
    return yaml.safe_load(of(manifests, "ConfigMap")["data"]["pointsman.yaml"])


def ports(manifests: list[dict]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(manifests)["ports"]}


# The chart by itself.


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_no_fault(name):
    report = stand.helm().lint(stand.CHART, SETS[name], strict=True, namespace="llm")
    assert report["total_charts_linted"] == 1 and not report.get("errors"), report
    # An icon is recommended, and there is none.
    assert [found for found in report["messages"] if found["severity"] > 1] == [], report


def test_helm_finds_faults(tmp_path):
    with stand.helm().Chart.load(stand.CHART) as chart:
        broken = chart.save_dir(tmp_path)
    service = stand.Path(broken) / "templates" / "service.yaml"
    service.write_text(service.read_text("utf-8").replace("{{ .Values.service.type }}", "{{ .Values.service.type"), "utf-8")
    report = stand.helm().lint(broken, {}, strict=True)
    assert any(found["severity"] > 1 for found in report["messages"]), report


def test_versions_agree():
    chart = yaml.safe_load((stand.CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == stand.version()
    assert chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


def test_every_value_has_a_schema_and_a_line_for_people():
    values = yaml.safe_load((stand.CHART / "values.yaml").read_text("utf-8"))
    schema = json.loads((stand.CHART / "values.schema.json").read_text("utf-8"))
    assert set(schema["properties"]) - {"global"} == set(values)
    readme = (stand.CHART / "README.md").read_text("utf-8")
    assert [name for name in values if not re.search(rf"`{name}[`.]", readme)] == []


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3},
        {"replicaCount": 0},
        {"replicaCount": "2"},
        {"image": {"repository": ""}},
        {"image": {"tagg": "1"}},
        {"image": {"digest": "sha256:abc"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"config": {"listen": "127.0.0.1:8080"}},
        {"config": {"admin_listen": "127.0.0.1:9090"}},
        {"config": {"models": {name: None for name in ("gpt-4o", "gpt-4o-mini")}}},
        {"config": {"server": {"drain_timeout": "1h"}}},
        {"config": {"server": {"drain_delay": "1h"}}},
        {"config": "models: {}"},
        {"secrets": {"create": {"NOT-A-NAME": "x"}}},
        {"secrets": {"create": {"EMPTY": ""}}},
        {"secrets": {"create": {"NUMBER": 1}}},
        {"drain": {"timeout": "30s"}},
        {"drain": {"timeout": 0}},
        {"service": {"type": "ExternalName"}},
        {"service": {"port": 70000}},
        {"adminService": {"type": "LoadBalancer"}},
        {"log": {"format": "xml"}},
        {"autoscaling": {"requestsInFlight": 0}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        {"networkPolicy": {"https": {"port": "https"}}},
        {"networkPolicy": {"monitoring": "monitoring"}},
        {"livenessProbe": {"httpGet": {"path": "/"}}},
        {"metrics": {"serviceMonitor": {"interval": "often"}}},
    ],
    ids=json.dumps,
)
def test_the_schema_refuses(values):
    helm = stand.helm()
    with helm.Chart.load(stand.CHART) as chart, pytest.raises(helm.HelmError):
        chart.validate_schema(values)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"config": {"database": "sqlite:/data/pointsman.db"}}, "PostgreSQL"),
        ({"config": {"database": None}}, "PostgreSQL"),
        ({"replicaCount": 1, "autoscaling": {"enabled": True}, "config": {"database": "sqlite:/x"}}, "PostgreSQL"),
        ({"secrets": {"existingSecret": "x", "create": {"KEY": "y"}}}, "not both"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}, "minReplicas"),
        ({"ingress": {"enabled": True}}, "hosts"),
        ({"config": {"admin_keys": []}}, "admin_keys"),
        ({"metrics": {"prometheusRule": {"enabled": True}}}, "set-file"),
        ({"metrics": {"prometheusRule": {"enabled": True, "files": {"x": "rules: []"}}}}, "no groups"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_the_templates_refuse(values, why):
    helm = stand.helm()
    with pytest.raises(helm.HelmError, match=why):
        stand.render(values)


def blocks(page: str) -> list[dict]:
    found = re.findall(r"```yaml\n(.*?)```", stand.read(page), re.DOTALL)
    return [values for values in map(yaml.safe_load, found) if "rules" not in values]


@pytest.mark.parametrize("page", ["docs/deploy.md", "deploy/helm/pointsman/README.md"])
def test_values_of_the_pages_are_some(page, tmp_path):
    for values in blocks(page):
        manifests = stand.render(values)
        file = tmp_path / "pointsman.yaml"
        file.write_text(of(manifests, "ConfigMap")["data"]["pointsman.yaml"], encoding="utf-8")
        assert stand.check_config(file).returncode == 0
    assert blocks(page)


# What it makes.


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubernetes_knows_every_field(manifests, kubernetes):
    import kubernetes_validate

    custom = {"monitoring.coreos.com/v1"}
    for manifest in manifests:
        if manifest["apiVersion"] not in custom:
            kubernetes_validate.validate(manifest, kubernetes, strict=True)


def test_kubernetes_would_not_take_just_anything():
    import kubernetes_validate

    manifests = stand.render()
    for change in ({"replicas": "two"}, {"replica": 2}, {"strategy": {"type": ["RollingUpdate"]}}):
        broken = copy.deepcopy(of(manifests, "Deployment"))
        broken["spec"].update(change)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, "1.31", strict=True)


def test_everything_has_labels_and_no_namespace_of_its_own(manifests):
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"
        assert "namespace" not in manifest["metadata"]


@pytest.mark.parametrize("name", SETS)
def test_the_gateway_takes_its_configuration(name, tmp_path):
    manifests = stand.render(SETS[name])
    file = tmp_path / "pointsman.yaml"
    file.write_text(of(manifests, "ConfigMap")["data"]["pointsman.yaml"], encoding="utf-8")
    checked = stand.check_config(file)
    assert checked.returncode == 0 and not stand.warnings(checked), checked.stdout + checked.stderr


def test_the_configuration_is_the_values_own():
    config = configuration(stand.render(SETS["fleet"]))
    assert config["tenants"] == TENANTS and config["retention"] == "90d"
    assert config["server"] == {"max_concurrent_requests": 1_000_000, "drain_timeout": "300s"}
    assert config["spill"] == "/data/spill"
    small = configuration(stand.render(SETS["small"]))
    assert "redis" not in small and "spill" not in small


def test_the_configuration_is_mounted_as_a_folder(manifests):
    (mount,) = [mount for mount in container(manifests)["volumeMounts"] if mount["name"] == "config"]
    assert mount == {"name": "config", "mountPath": "/etc/pointsman", "readOnly": True}
    volumes = {volume["name"]: volume for volume in pod(manifests)["volumes"]}
    assert volumes["config"]["configMap"]["name"] == of(manifests, "ConfigMap")["metadata"]["name"]
    arguments = container(manifests)["args"]
    assert arguments[arguments.index("--config") + 1] == "/etc/pointsman/pointsman.yaml"
    assert arguments.index("--log-format") < arguments.index("serve")


def test_probes_ask_the_operators_listener(manifests):
    admin = ports(manifests)["admin"]
    assert configuration(manifests)["admin_listen"] == f"0.0.0.0:{admin}"
    probes = {kind: container(manifests)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/health/live", "port": "admin"},
        "liveness": {"path": "/health/live", "port": "admin"},
        "readiness": {"path": "/health/ready", "port": "admin"},
    }
    startup = container(manifests)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60, "the database is waited for"


def test_answers_may_end(manifests):
    assert pod(manifests)["terminationGracePeriodSeconds"] > stand.drain_seconds(configuration(manifests))


def test_it_is_seen_to_leave_before_it_does():
    config = configuration(stand.render())
    readiness = container(stand.render())["readinessProbe"]
    assert stand.seconds(config["server"]["drain_delay"]) > readiness["periodSeconds"] * readiness["failureThreshold"]


def test_pods_are_restricted(manifests):
    """As the Pod Security Standard `restricted` wants it, and a root that cannot be written to."""
    pods = [pod(manifests)] + [item["spec"] for item in manifests if item["kind"] == "Pod"]
    assert len(pods) == 2
    for spec in pods:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532 and security["runAsGroup"] == 65532
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for each in spec["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in each["resources"]["limits"]


def test_no_token_is_given(manifests):
    if has(manifests, "ServiceAccount"):
        assert of(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
        assert pod(manifests)["serviceAccountName"] == "demo-pointsman"
    else:
        assert pod(manifests)["serviceAccountName"] == "default"


def test_images():
    assert container(stand.render())["image"] == f"pointsman:{stand.version()}"
    assert container(stand.render(SETS["fleet"]))["image"] == f"registry.example:5000/llm/pointsman@{DIGEST}"


def test_secrets_are_in_the_secret_alone():
    manifests = stand.render(SETS["small"])
    secret = of(manifests, "Secret")
    assert secret["stringData"] == SETS["small"]["secrets"]["create"]
    others = json.dumps([item for item in manifests if item["kind"] != "Secret"])
    assert not [value for value in secret["stringData"].values() if value in others]
    assert container(manifests)["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]

    fleet = stand.render(SETS["fleet"])
    assert not has(fleet, "Secret")
    assert container(fleet)["envFrom"] == [{"secretRef": {"name": "pointsman-keys"}}]
    assert "envFrom" not in container(stand.render())


def test_a_change_of_configuration_or_secrets_replaces_pods():
    def annotations(values):
        return of(stand.render(values), "Deployment")["spec"]["template"]["metadata"].get("annotations") or {}

    base = SETS["small"]
    other_config = merged(base, {"config": {"retention": "30d"}})
    other_secret = merged(base, {"secrets": {"create": {"ADMIN_KEY": "another"}}})
    other_drain = merged(base, {"drain": {"timeout": 60}})
    assert annotations(base) == annotations(merged(base, {"service": {"port": 80}}))
    for changed, name in [(other_config, "checksum/config"), (other_drain, "checksum/config"), (other_secret, "checksum/secrets")]:
        assert annotations(base)[name] != annotations(changed)[name]
    assert "checksum/config" not in annotations(merged(base, {"restartOnConfigChange": False}))


def test_services_lead_to_gateways(manifests):
    for suffix, name in [("", "http"), ("-admin", "admin")]:
        service = of(manifests, "Service", suffix)
        assert [port["targetPort"] for port in service["spec"]["ports"]] == [name] and name in ports(manifests)
    config = configuration(manifests)
    assert config["listen"] == f"0.0.0.0:{ports(manifests)['http']}"


def test_the_operators_port_stays_inside():
    manifests = stand.render(SETS["fleet"])
    assert of(manifests, "Service")["spec"]["type"] == "LoadBalancer"
    assert of(manifests, "Service", "-admin")["spec"]["type"] == "ClusterIP"
    backends = json.dumps(of(manifests, "Ingress")["spec"]["rules"])
    assert "admin" not in backends
    assert of(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/v1"


def test_whatever_selects_selects_gateways_alone(manifests):
    labels = of(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    (test,) = [item for item in manifests if item["kind"] == "Pod"]
    selectors = [of(manifests, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [item["spec"]["selector"] for item in manifests if item["kind"] == "Service"]
    selectors += [item["spec"]["selector"]["matchLabels"] for item in manifests if item["kind"] == "PodDisruptionBudget"]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in manifests if item["kind"] == "NetworkPolicy"]
    assert len(selectors) >= 3
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test["metadata"]["labels"].items()


def test_disruptions_take_one_at_a_time():
    budget = of(stand.render(), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert not has(stand.render(SETS["small"]), "PodDisruptionBudget")


def test_an_upgrade_takes_no_capacity():
    assert of(stand.render(), "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_gateways_are_spread():
    constraints = pod(stand.render())["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    labels = of(stand.render(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    for each in constraints:
        assert each["labelSelector"]["matchLabels"].items() <= labels.items()
    assert [each["topologyKey"] for each in pod(stand.render(SETS["fleet"]))["topologySpreadConstraints"]] == ["rack"]


def test_it_scales_by_requests_in_flight():
    manifests = stand.render(SETS["fleet"])
    scaler = of(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-pointsman"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 30)
    in_flight, cpu = scaler["metrics"]
    assert in_flight["pods"] == {
        "metric": {"name": "pointsman_requests_in_flight"},
        "target": {"type": "AverageValue", "averageValue": "200"},
    }
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert "replicas" not in of(manifests, "Deployment")["spec"], "the autoscaler's number, not the chart's"
    assert not has(stand.render(), "HorizontalPodAutoscaler")
    one = stand.render({"autoscaling": {"enabled": True}})
    assert len(of(one, "HorizontalPodAutoscaler")["spec"]["metrics"]) == 1


def test_the_metric_is_the_gateways_and_the_adapters():
    metric = "pointsman_requests_in_flight"
    assert f"`{metric}`" in stand.read("src/telemetry/metrics.rs")
    blocks = re.findall(r"```yaml\n(.*?)```", (stand.CHART / "README.md").read_text("utf-8"), re.DOTALL)
    (rules,) = [block for block in map(yaml.safe_load, blocks) if "rules" in block]
    (rule,) = rules["rules"]["custom"]
    assert rule["seriesQuery"].startswith(metric + "{")
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert "<<.LabelMatchers>>" in rule["metricsQuery"] and "<<.GroupBy>>" in rule["metricsQuery"]


def rules(policy: dict, direction: str) -> dict[tuple, list]:
    """Whom a policy names, by ports."""
    peer = {"ingress": "from", "egress": "to"}[direction]
    return {tuple(port["port"] for port in rule["ports"]): rule.get(peer, []) for rule in policy["spec"][direction]}


def test_the_network_is_closed():
    manifests = stand.render()
    policy = of(manifests, "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert rules(policy, "ingress") == {("http",): [], ("admin",): monitoring}
    assert {"http", "admin"} <= ports(manifests).keys()
    egress = rules(policy, "egress")
    assert set(egress) == {(53, 53), (5432,), (6379,), (443,)}
    assert egress[(53, 53)] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert {port["protocol"] for port in policy["spec"]["egress"][0]["ports"]} == {"UDP", "TCP"}
    assert all("169.254.0.0/16" in peer["ipBlock"]["except"] for peer in egress[(443,)] if peer["ipBlock"]["cidr"] == "0.0.0.0/0")


def test_the_network_is_closed_as_asked():
    policy = of(stand.render(SETS["fleet"]), "NetworkPolicy")
    assert rules(policy, "ingress")[("http",)] == [{"namespaceSelector": {}}]
    egress = rules(policy, "egress")
    assert set(egress) == {(53, 53), (5432,), (443,), (8000,)}
    assert egress[(5432,)] == [{"podSelector": {"matchLabels": {"app": "postgres"}}}]
    nobody = of(stand.render({"networkPolicy": {"monitoring": []}}), "NetworkPolicy")
    assert set(rules(nobody, "ingress")) == {("http",)}, "no rule, since one without `from` lets everybody in"
    assert not has(stand.render(SETS["small"]), "NetworkPolicy")


def test_prometheus_finds_the_operators_service():
    manifests = stand.render(SETS["fleet"])
    monitor = of(manifests, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [item["metadata"]["name"] for item in manifests if item["kind"] == "Service" and wanted <= item["metadata"]["labels"].items()]
    assert found == ["demo-pointsman-admin"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == "admin" and endpoint["path"] == "/metrics"
    assert endpoint["relabelings"] == [{"action": "replace", "targetLabel": "job", "replacement": "pointsman"}]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["llm"]}
    assert not has(stand.render(), "ServiceMonitor")


def test_rules_go_through_as_they_are():
    (group,) = of(stand.render(SETS["fleet"]), "PrometheusRule")["spec"]["groups"]
    assert group == yaml.safe_load(RULES)["groups"][0]


def test_the_shipped_rules_go_through():
    files = sorted((stand.DEPLOY / "prometheus" / "rules").glob("*.yml"))
    if not files:
        pytest.skip("no rules in deploy/prometheus/rules")
    texts = {file.stem: file.read_text("utf-8") for file in files}
    manifests = stand.render({"metrics": {"prometheusRule": {"enabled": True, "files": texts}}})
    expected = [group for name in sorted(texts) for group in yaml.safe_load(texts[name])["groups"]]
    assert of(manifests, "PrometheusRule")["spec"]["groups"] == expected


def test_helm_test_asks_the_service():
    manifests = stand.render()
    (test,) = [item for item in manifests if item["kind"] == "Pod"]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (asks,) = test["spec"]["containers"]
    service = of(manifests, "Service")
    port = service["spec"]["ports"][0]["port"]
    assert asks["args"] == ["health", f"http://{service['metadata']['name']}:{port}/health/ready"]
    # It speaks no TLS.
    assert not has(stand.render({"config": {"tls": {"cert": "/tls/tls.crt", "key": "/tls/tls.key"}}}), "Pod")


def test_names_stay_within_63():
    long = "a" * 53
    for manifest in stand.render(name=long):
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(str(value)) <= 63 for value in manifest["metadata"]["labels"].values())
    names = {item["metadata"]["name"] for item in stand.render({"fullnameOverride": "gw"})}
    assert names == {"gw", "gw-admin", "gw-test"}


def test_notes_warn():
    with stand.helm().Chart.load(stand.CHART) as chart:
        def notes(values):
            return next(text for path, text in chart.render(values, name="demo", namespace="llm").items() if path.endswith("NOTES.txt"))

        assert "no secrets are given" in notes({}) and "No tenants are configured" in notes({})
        fine = notes({"secrets": {"existingSecret": "x"}, "config": {"tenants": TENANTS}})
        assert "WARNING" not in fine and "No tenants" not in fine
        risky = notes({"secrets": {"existingSecret": "x"}, "config": {"tenants": TENANTS, "admin_keys": []}, "networkPolicy": {"enabled": False}})
        assert risky.count("WARNING") == 2
        assert "https://llm.example.com/v1" in notes(SETS["fleet"])
