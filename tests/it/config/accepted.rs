//! What is accepted, and what it becomes.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header;
use pointsman::admission::QueueRules;
use pointsman::cache::CacheRules;
use pointsman::config::{
    ClientIdentity, Config, EmbedderConfig, FeatureSet, HttpBaseUrl, Input, KeyConfig, KeyDigest,
    ModelConfig, OnStoreLoss, Probability, ResponseModel, RouteChoice, RouteConfig, RouterKind, RoutingText,
    Scheme, Selection, ServerLimits, TenantLimits, Timeouts, TokenPrice, UsageMode, Usd,
};
use pointsman::secret::Secret;

use super::{accept, parse_in, repository};

const LEAST: &str = "models: {a: {}, b: {}}\ntenants: {t: {open: true, pool: [a]}}\n";

/// The least, with one model's fields.
fn model(fields: &str) -> ModelConfig {
    accept(&format!("models: {{a: {{{fields}}}}}\ntenants: {{t: {{open: true, pool: [a]}}}}\n")).models["a"]
        .clone()
}

#[test]
fn defaults() {
    let config = accept(LEAST);
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!((config.admin_listen, &config.tls), (None, &None));
    assert_eq!(config.server, ServerLimits::default());
    let openai: HttpBaseUrl = "https://api.openai.com/v1".parse().unwrap();
    assert_eq!(config.models["b"], ModelConfig::new("b", openai));
    assert_eq!(config.routes.keys().collect::<Vec<_>>(), ["auto"]);
    assert_eq!(config.routes["auto"], RouteConfig::standard());
    let RouteChoice::Routed(auto) = &config.routes["auto"].choice else { panic!("auto has a router") };
    assert_eq!((auto.router, auto.selection), (RouterKind::Mf, Selection::StrongShare(Probability::HALF)));
    let tenant = &config.tenants["t"];
    assert_eq!((tenant.open, tenant.keys.len(), tenant.default_route.as_str()), (true, 0, "auto"));
    assert_eq!(tenant.default_model, None);
}

#[test]
fn the_designed_shape() {
    let text = r#"
listen: 0.0.0.0:8080
admin_listen: 127.0.0.1:9090
models:
  gpt-4o:       { provider: openai, api_key: "${OPENAI_API_KEY}", model: gpt-4o-2024-08-06, rated_as: gpt-4o-2024-08-06,
                  price: {input: 2.50, output: 10.00} }                 # USD per million tokens
  local-llama:  { provider: openai, base_url: "http://vllm:8000/v1", rated_as: llama-3.1-8b-instruct, price: {input: 0.05, output: 0.05},
                  context_tokens: 131072, features: [tools, json_schema], headers: {x-team: search}, usage: request }
  azure-4o:     { provider: openai, base_url: "https://host/openai/deployments/4o", query: {api-version: "2024-10-21"},
                  auth_header: api-key, api_key: "file:azure", elo: 1285, price: {input: 2.50, output: 10.00} }
routes:
  auto:   { router: mf, strong_share: 0.3, timeout: 50ms, stream_recovery: error }   # or threshold: / utility: / budget_usd_per_1k:
  fixed:  { models: [gpt-4o, local-llama] }                             # no router: in this order, the rest as fallbacks
tenants:
  research: { keys: [ {hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"} ],
              pool: [gpt-4o, local-llama], default_route: auto, default_model: local-llama,
              limits: {rpm: 600, tpm: 400000, concurrency: 64} }
  ci:       { keys: [ {key: "${CI_KEY}"} ], pool: [local-llama], default_route: fixed }
"#;
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("azure"), "azure-key\n").unwrap();
    let loaded = parse_in(directory.path(), text.as_bytes()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;

    let llama = &config.models["local-llama"];
    assert_eq!(llama.base_urls[0].scheme(), Scheme::Http);
    assert_eq!(llama.base_urls[0].authority(), "vllm:8000");
    assert_eq!(llama.upstream_model, "local-llama");
    assert_eq!(llama.rated_as.as_deref(), Some("llama-3.1-8b-instruct"));
    assert_eq!(llama.price.map(|price| price.input.pico_usd()), Some(50_000));
    assert_eq!(llama.context_tokens, Some(131_072));
    assert_eq!(llama.features, Some(FeatureSet { tools: true, json_schema: true, ..FeatureSet::default() }));
    assert_eq!(llama.headers[0].0, "x-team");
    assert_eq!(config.models["gpt-4o"].upstream_model, "gpt-4o-2024-08-06");
    let azure = &config.models["azure-4o"];
    assert_eq!((azure.auth_header.as_str(), azure.elo), ("api-key", Some(1285.0)));
    assert_eq!(
        azure.endpoint(&azure.base_urls[0], "/chat/completions").unwrap(),
        "https://host/openai/deployments/4o/chat/completions?api-version=2024-10-21"
    );
    let gpt = &config.models["gpt-4o"];
    assert_eq!(gpt.endpoint(&gpt.base_urls[0], "/models").unwrap(), "https://api.openai.com/v1/models");

    let RouteChoice::Routed(auto) = &config.routes["auto"].choice else { panic!("auto has a router") };
    assert_eq!(auto.selection, Selection::StrongShare(Probability::new(0.3).unwrap()));
    let fixed =
        RouteConfig::new(RouteChoice::Static { models: vec!["gpt-4o".to_owned(), "local-llama".to_owned()] });
    assert_eq!(config.routes["fixed"], fixed);
    assert_eq!(config.tenants["research"].keys, [KeyConfig::new(KeyDigest::of("test"))]);
    assert_eq!(config.tenants["research"].default_model.as_deref(), Some("local-llama"));
    assert_eq!(config.tenants["ci"].default_route, "fixed");
    let limit = NonZeroU64::new;
    let limits = TenantLimits { rpm: limit(600), tpm: limit(400_000), concurrency: limit(64) };
    assert_eq!((config.tenants["research"].limits, config.tenants["ci"].limits), (Some(limits), None));
}

#[test]
fn the_fields_of_a_model() {
    let read = model(
        "api_key: k, auth_header: X-Key, usage: as_is, response_model: upstream, timeouts: {first_token: 90s, connect: 250ms},
         http2: true, price: {input: 0.000001, output: 1000000}, query: {a b: 'ü&=', empty: x}, features: [],
         base_url: 'HTTPS://Host.example:8443/v1/', tls: {ca_file: ca.pem, client_cert: /c.pem, client_key: k.pem}",
    );
    assert_eq!(read.auth_header, "x-key");
    assert_eq!((read.usage, read.response_model), (UsageMode::AsIs, ResponseModel::Upstream));
    let timeouts = Timeouts {
        first_token: Duration::from_secs(90),
        connect: Duration::from_millis(250),
        ..Timeouts::default()
    };
    assert_eq!(read.timeouts, timeouts);
    assert!(read.http2);
    let price = read.price.unwrap();
    assert_eq!((price.input.pico_usd(), price.output.pico_usd()), (1, 1_000_000_000_000));
    assert_eq!(read.query.as_ref().map(Secret::expose), Some("a%20b=%C3%BC%26%3D&empty=x"));
    assert_eq!(read.features, Some(FeatureSet::default()));
    assert_eq!(read.base_urls[0].to_string(), "https://Host.example:8443/v1");
    assert_eq!(read.tls.ca_file, Some(PathBuf::from("/etc/pointsman/ca.pem")));
    let client = ClientIdentity { cert: PathBuf::from("/c.pem"), key: PathBuf::from("/etc/pointsman/k.pem") };
    assert_eq!(read.tls.client, Some(client));
}

#[test]
fn the_key_in_its_header_is_only_sensitive() {
    let read = model("headers: {authorization: Basic abc}, auth_header: api-key, api_key: k");
    assert_eq!(read.headers[0].0, header::AUTHORIZATION);
    assert!(read.headers[0].1.is_sensitive());
}

#[test]
fn prices_are_exact() {
    for (text, pico) in
        [("0", 0), ("2.5", 2_500_000), ("2.50", 2_500_000), ("0.1000000000", 100_000), ("10", 10_000_000)]
    {
        assert_eq!(TokenPrice::parse(text).map(TokenPrice::pico_usd), Ok(pico), "{text}");
    }
}

#[test]
fn every_rule_and_text() {
    let text = "
models: {a: {}}
routes:
  t: {router: mf, threshold: 1}
  s: {router: random, strong_share: 0}
  u: {router: best_single, utility: 0, text: conversation}
  b: {router: mf, budget_usd_per_1k: 0.5, text: first_user, artifact: own.safetensors, timeout: 5ms}
  e: {router: bert, threshold: 0.5, artifact: own.safetensors, embedder: {encoder: models/minilm}}
  k: {router: knn, threshold: 0.5, embedder: static}
  c: {router: causal, threshold: 0.5, artifact: causal.safetensors, decoder: models/small.gguf}
tenants: {t: {open: true, pool: [a], default_route: b}}
";
    let config = accept(text);
    let route = |name: &str| match &config.routes[name].choice {
        RouteChoice::Routed(route) => route.clone(),
        RouteChoice::Static { .. } => panic!("{name} has a router"),
    };
    assert_eq!(route("t").selection, Selection::Threshold(Probability::new(1.0).unwrap()));
    assert_eq!(route("s").selection, Selection::StrongShare(Probability::new(0.0).unwrap()));
    assert_eq!((route("s").router, route("u").router), (RouterKind::Random, RouterKind::BestSingle));
    assert_eq!((route("u").selection, route("u").text), (Selection::Utility(0.0), RoutingText::Conversation));
    let b = route("b");
    assert_eq!((b.selection, b.text), (Selection::BudgetUsdPer1k(0.5), RoutingText::FirstUser));
    assert_eq!(b.artifact, Some(PathBuf::from("/etc/pointsman/own.safetensors")));
    assert_eq!(b.timeout, Duration::from_millis(5));
    let encoder = EmbedderConfig::Encoder(PathBuf::from("/etc/pointsman/models/minilm"));
    assert_eq!((route("e").router, route("e").embedder), (RouterKind::Bert, encoder));
    assert_eq!((route("k").router, route("k").embedder), (RouterKind::Knn, EmbedderConfig::Static));
    let decoder = EmbedderConfig::Decoder(PathBuf::from("/etc/pointsman/models/small.gguf"));
    assert_eq!((route("c").router, route("c").embedder), (RouterKind::Causal, decoder));
    // A language model takes longer than the others.
    assert_eq!((route("c").timeout, route("k").timeout), (Duration::from_secs(2), Duration::from_millis(50)));
}

#[test]
fn caches() {
    let text = "
models: {a: {}}
routes: {auto: {models: [a]}, s: {models: [a], cache: {}}, l: {models: [a], cache: {ttl: 90s, max_bytes: 128KiB}}}
tenants: {t: {open: true, pool: [a]}}
";
    let config = accept(text);
    assert_eq!(config.routes["auto"].delivery.cache, None);
    assert_eq!(config.routes["s"].delivery.cache, Some(CacheRules::default()));
    let expected =
        CacheRules { ttl: Duration::from_secs(90), max_bytes: 128 << 10, max_entry_bytes: 128 << 10 };
    assert_eq!(
        config.routes["l"].delivery.cache,
        Some(expected),
        "no answer is longer than all of them together"
    );
}

#[test]
fn what_gateways_share() {
    assert_eq!(accept(LEAST).redis, None);
    let redis = |more: &str| accept(&format!("{LEAST}{more}")).redis.unwrap();
    let plain = redis("redis: redis://localhost\n");
    assert_eq!(
        (plain.url.to_string(), plain.on_store_loss),
        ("redis://localhost:6379/0".to_owned(), OnStoreLoss::Refuse)
    );
    let written = redis("redis: 'rediss://me:${CI_KEY}@r.example:7000/2'\non_store_loss: allow(5.25)\n");
    assert_eq!(written.url.login.password(), Some("very-secret-tenant-key"));
    assert_eq!(written.url.to_string(), "rediss://me@r.example:7000/2");
    assert_eq!(written.on_store_loss, OnStoreLoss::Allow(Usd::parse("5.25").unwrap()));
    let (debug, again) = (format!("{written:?}"), redis("redis: 'rediss://me:other@r.example:7000/2'\n"));
    assert!(!debug.contains("very-secret") && again.url != written.url, "{debug}");
}

#[test]
fn limits_of_the_server() {
    let config = accept(&format!(
        "{LEAST}listen: '[::1]:${{PORT}}'\ntls: {{cert: c.pem, key: k.pem}}\nserver: {{max_body_bytes: 1MiB, max_header_bytes: 8192,
         header_timeout: 1s, body_timeout: 2s, write_timeout: 3s, idle_timeout: 4s, drain_delay: 6s, drain_timeout: 1m, response_buffer: 64KiB, max_connections: 5,
         max_concurrent_requests: 1_000, queue_per_tenant: 0, queue_timeout: 5s, routing_text_chars: 100, router_queue: 1}}\n"
    ));
    assert_eq!(config.listen.to_string(), "[::1]:9000");
    assert_eq!(config.tls.unwrap().key, Path::new("/etc/pointsman/k.pem"));
    let expected = ServerLimits {
        max_body_bytes: 1 << 20,
        max_header_bytes: 8192,
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(2),
        write_timeout: Duration::from_secs(3),
        idle_timeout: Duration::from_secs(4),
        drain_delay: Duration::from_secs(6),
        drain_timeout: Duration::from_secs(60),
        response_buffer: 64 << 10,
        max_connections: 5,
        max_concurrent_requests: 1000,
        queue: QueueRules { per_tenant: 0, timeout: Duration::from_secs(5) },
        routing_text_chars: 100,
        router_queue: 1,
    };
    assert_eq!(config.server, expected);
}

#[test]
fn the_only_route_is_the_default_one() {
    let config =
        accept("models: {a: {}}\nroutes: {mine: {models: [a]}}\ntenants: {t: {open: true, pool: [a]}}\n");
    assert_eq!(config.tenants["t"].default_route, "mine");
}

#[test]
fn anchors_and_any_spelling_of_a_text() {
    let text = "
models:
  a: &base {price: &p {input: 1, output: 2}, model: 4}
  b: *base
  c:
    price: *p
    model: >-
      long
      name
tenants: {t: {open: true, pool: [\"a\", 'b', !!str c]}}
";
    let config = accept(text);
    assert_eq!(config.models["b"].upstream_model, "4");
    assert_eq!(config.models["c"].upstream_model, "long name");
    assert_eq!(config.models["c"].price, config.models["a"].price);
    assert_eq!(config.tenants["t"].pool, ["a", "b", "c"]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns() {
    accept(&format!("\u{FEFF}{}", LEAST.replace('\n', "\r\n")));
}

#[test]
fn the_readme() {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (sample, _) = rest.split_once("```").unwrap();
    let environment = |name: &str| Some(format!("the-value-of-{name}"));
    let directory = Path::new("/etc/pointsman");
    let input = Input { name: "README.md", bytes: sample.as_bytes(), directory, environment: &environment };
    match Config::parse(&input) {
        Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", loaded.warnings),
        Err(found) => panic!("{found}"),
    }
}
