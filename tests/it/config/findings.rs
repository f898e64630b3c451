//! Every kind of finding, with its exact place and words.

use serde_json::json;

use super::{accept, parse, repository};

/// The findings about a file, one a line, without the file's name.
fn findings(text: &str) -> Vec<String> {
    let found = match parse(text) {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    };
    found.to_string().lines().map(|line| line.trim_start_matches("config.yaml:").trim().to_owned()).collect()
}

/// The one finding about a file.
fn finding(text: &str) -> String {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.concat()
}

/// A file with one model, one tenant, and `more`, whose first line is the third.
fn with(more: &str) -> String {
    format!("models: {{a: {{}}, b: {{}}}}\ntenants: {{t: {{open: true, pool: [a]}}}}\n{more}")
}

#[test]
fn a_broken_file_shows_all_its_errors_at_once() {
    let text = include_str!("../../fixtures/config/broken.yaml");
    let found = findings(text).join("\n") + "\n";
    let expected = repository("tests/fixtures/config/broken.txt");
    if std::env::var_os("POINTSMAN_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&expected).unwrap(), "POINTSMAN_BLESS=1 accepts a change");
}

#[test]
fn what_is_missing() {
    let found = findings("listen: 0.0.0.0:1\n");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("1:1: error: lacks `models`; for example "), "{found:#?}");
    assert!(found[1].starts_with("1:1: error: lacks `tenants`; "), "{found:#?}");
    let nowhere = findings("models: {a: {}}\nadmin_keys: [{key: k}]\ndatabase: none\n");
    assert!(nowhere.len() == 1 && nowhere[0].contains("lacks `tenants`"), "{nowhere:#?}");
    assert_eq!(
        findings("models: {}\ntenants:\n"),
        [
            "1:1: error: models: is empty; it needs at least one model",
            "2:1: error: tenants: expects a mapping from names to tenants, found nothing",
        ]
    );
    assert_eq!(
        finding(&with("routes: {}\n")).split("; ").next(),
        Some("3:1: error: routes: is empty"),
        "an empty mapping is no absent one"
    );
    assert_eq!(
        finding("[models, tenants]\n"),
        "1:1: error: expects a mapping with `models` and `tenants`, found a list"
    );
}

#[test]
fn what_is_not_yaml() {
    assert_eq!(
        finding("models:\n  a: {price: [1, 2}\n"),
        "2:14: error: models.a.price[1]: not valid YAML: mismatched bracket '[' closed by '}'; \
         look at the brackets, quotes and indentation above it, too"
    );
    assert_eq!(
        finding("a: *nothing\n"),
        "1:4: error: a: not valid YAML: while parsing node, found unknown anchor; \
         put quotes around a text that begins with `*`"
    );
    assert_eq!(
        finding(&with("listen: !include '0.0.0.0:80'\n")),
        "3:18: error: listen: the tag `!include` is not supported; remove it"
    );
    assert_eq!(
        finding(&with("server: {<<: {max_connections: 1}}\n")),
        "3:10: error: server.\"<<\": unknown key `<<`; merge keys are not part of YAML 1.2: repeat the fields"
    );
}

#[test]
fn limits_that_limit_nothing() {
    let limits = |limits: &str| {
        format!("models: {{a: {{}}}}\ntenants:\n  t: {{open: true, pool: [a], limits: {limits}}}\n")
    };
    assert_eq!(
        finding(&limits("{}")),
        "3:30: error: tenants.t.limits: sets no limit; give it `rpm`, `tpm` or `concurrency`, or remove it"
    );
    assert_eq!(
        finding(&limits("{tpm: 1_000_000_001}")),
        "3:44: error: tenants.t.limits.tpm: `1_000_000_001` is not within 1 and 1000000000"
    );
    assert_eq!(
        finding(&limits("600")),
        "3:38: error: tenants.t.limits: expects a mapping such as `{rpm: 600, tpm: 400000, concurrency: 64}`, found a single value"
    );
}

#[test]
fn what_contradicts() {
    assert_eq!(
        finding(&with("listen: 127.0.0.1:80\nadmin_listen: 127.0.0.1:80\n")),
        "4:15: error: admin_listen: is the same as `listen`; operators and clients connect to different ports"
    );
    assert_eq!(
        finding("models: {a: {}}\ntenants:\n  s: {open: true, pool: [a]}\n  t: {open: true, pool: [a]}\n"),
        "4:13: error: tenants.t.open: tenant `s` is open already; a request without a key can belong to one tenant only"
    );
    assert_eq!(
        findings(
            "models:\n  a: {api_key: k, headers: {Authorization: x, X-A: '1', x-a: '2'}}\ntenants: {t: {open: true, pool: [a]}}\n"
        ),
        [
            "2:29: error: models.a.headers.Authorization: `authorization` carries the `api_key`",
            "2:57: error: models.a.headers.x-a: `x-a` is set twice",
        ]
    );
    assert_eq!(
        finding(
            "models:\n  a: {base_url: http://h, tls: {ca_file: ca}}\ntenants: {t: {open: true, pool: [a]}}\n"
        ),
        "2:27: error: models.a.tls: means nothing for an http:// address; write https:// in `base_url`"
    );
    assert_eq!(
        finding("models: {a: {}}\ntenants: {t: {open: true, pool: [a, a]}}\n"),
        "2:37: error: tenants.t.pool[1]: is listed twice"
    );
}

#[test]
fn embedders() {
    let route = |fields: &str| findings(&with(&format!("routes: {{auto: {{threshold: 0.5, {fields}}}}}\n")));
    let wrong = |embedder: &str| route(&format!("router: mf, embedder: {embedder}")).concat();
    assert_eq!(
        wrong("statik"),
        "3:55: error: routes.auto.embedder: `statik` is not allowed here; did you mean `static`?"
    );
    assert_eq!(
        wrong("{folder: x}").split("; ").next(),
        Some("3:45: error: routes.auto.embedder: lacks `encoder`")
    );
    assert_eq!(
        wrong("{encoder: }"),
        "3:56: error: routes.auto.embedder.encoder: has no value: expects the path of a folder; \
         give it one, or remove the key"
    );
    assert_eq!(
        route("router: random, embedder: static").concat(),
        "3:49: error: routes.auto.embedder: `random` reads no embeddings"
    );
    assert_eq!(
        route("router: mf, decoder: small.gguf").concat(),
        "3:45: error: routes.auto.decoder: `mf` reads no decoder"
    );
    let hint = "`decoder: PATH`, the folder or GGUF file of the language model that the artefact was trained with, or `served: {…}`, a server of it";
    assert_eq!(
        route("router: causal, artifact: a").concat(),
        format!("3:10: error: routes.auto: lacks `decoder`; {hint}")
    );
}

#[test]
fn served_readers() {
    let route = |fields: &str| {
        findings(&with(&format!("routes: {{auto: {{threshold: 0.5, artifact: a, {fields}}}}}\n"))).join("\n")
    };
    for allowed in [
        "router: causal, served: {base_url: http://h/v1, model: m}",
        "router: causal, served: {base_url: [http://h/v1, http://i/v1], model: m, api: chat, api_key: k, breaker: {failures: 3}}",
        "router: causal, served: {base_url: https://h/v1, model: m, tokenizer: t, tls: {ca_file: ca}, headers: {X-A: b}, query: {a: b}, http2: true}",
        "router: bert, served: {base_url: http://h/v1, model: m}",
        "router: sw, served: {base_url: http://h, api: embed}",
    ] {
        assert_eq!(route(allowed), "");
    }
    for (wrong, told) in [
        (
            "router: causal, served: {model: m}",
            "routes.auto.served: lacks `base_url`; the URL that its paths are below",
        ),
        (
            "router: causal, served: {base_url: http://h}",
            "routes.auto.served: lacks `model`; the server's name",
        ),
        (
            "router: causal, served: {base_url: http://h, model: m, api: embed}",
            "served.api: `embed` is not allowed here",
        ),
        (
            "router: bert, served: {base_url: http://h, model: m, api: chat}",
            "served.api: `chat` is not allowed here",
        ),
        (
            "router: causal, served: {base_url: http://h, model: m, api: chat, tokenizer: t}",
            "served.tokenizer: `api: chat` takes no tokens",
        ),
        ("router: bert, served: {base_url: ftp://h, model: m}", "served.base_url: the URL"),
        (
            "router: bert, served: {base_url: http://h, model: m, modle: m}",
            "served.modle: unknown key `modle`; did you mean `model`?",
        ),
        (
            "router: random, served: {base_url: http://h, model: m}",
            "routes.auto.served: `random` reads no text",
        ),
        (
            "router: causal, decoder: d, served: {base_url: http://h, model: m}",
            "routes.auto.served: is a second one to read texts; keep `decoder` or `served`",
        ),
    ] {
        let found = route(wrong);
        assert!(found.contains(told), "{wrong}: {found}");
    }
}

#[test]
fn caches() {
    let route = |cache: &str| {
        findings(&with(&format!("routes: {{auto: {{models: [a], cache: {cache}}}}}\n"))).join("\n")
    };
    for allowed in ["{}", "{ttl: 30s, max_bytes: 1GiB, max_entry_bytes: 4MiB}", "{max_bytes: 64KiB}"] {
        assert_eq!(route(allowed), "", "{allowed}");
    }
    assert_eq!(
        route("true"),
        "3:37: error: routes.auto.cache: expects a mapping such as `{ttl: 1h, max_bytes: 64MiB}`, found a single value"
    );
    assert_eq!(
        route("{max_bytes: 1MiB, max_entry_bytes: 2MiB}"),
        "3:72: error: routes.auto.cache.max_entry_bytes: is more than `max_bytes`, which is 1048576 bytes; \
         no answer as long as that could be kept"
    );
    assert_eq!(
        route("{max_bytes: 1KiB}").split("; ").next(),
        Some(
            "3:49: error: routes.auto.cache.max_bytes: `1KiB` is not within 65536 bytes and 1099511627776 bytes"
        )
    );
    assert_eq!(
        route("{tll: 1h}"),
        "3:38: error: routes.auto.cache.tll: unknown key `tll`; did you mean `ttl`?"
    );
    assert_eq!(
        route("{ttl: 2000h}").split("; ").next(),
        Some("3:43: error: routes.auto.cache.ttl: `2000h` is not within 1ms and 2592000s")
    );
}

#[test]
fn what_gateways_share() {
    let shared = |more: &str| findings(&with(more)).join("\n");
    for allowed in [
        "redis: redis://10.0.0.7\n",
        "redis: rediss://me:${CI_KEY}@redis.internal:7000/3\non_store_loss: refuse\n",
        "redis: redis://:p@127.0.0.1:1/0\non_store_loss: allow(0.50)\n",
    ] {
        assert_eq!(shared(allowed), "", "{allowed}");
    }
    assert_eq!(
        shared("redis: redis://:${CI_KEY}@redis.internal\n"),
        "3:8: warning: redis: its password goes over the network for all to read; rediss:// speaks to it by TLS"
    );
    assert_eq!(
        shared("redis: ${CI_KEY}\n"),
        "3:8: error: redis: is no URL of Redis: it begins with neither redis:// nor rediss://; \
         expects `redis://user:password@host:6379/0`, or rediss:// for TLS"
    );
    assert_eq!(
        shared("on_store_loss: refuse\n"),
        "3:1: error: on_store_loss: means nothing without `redis`; it says what becomes of budgets while Redis is away"
    );
    let lost = |lost: &str| shared(&format!("redis: redis://localhost\non_store_loss: {lost}\n"));
    assert_eq!(
        lost("allow"),
        "4:16: error: on_store_loss: `allow` is not allowed here; `refuse`, or `allow(5)` with an amount in USD"
    );
    for (amount, why) in [
        ("-1", "is negative"),
        ("", "is not a decimal number of USD"),
        ("0.0000000000001", "has more than 12 decimals"),
    ] {
        assert_eq!(
            lost(&format!("allow({amount})")),
            format!(
                "4:16: error: on_store_loss: the amount of `allow({amount})` {why}; `refuse`, or `allow(5)` with an amount in USD"
            )
        );
    }
}

#[test]
fn shared_budgets_need_a_shared_ledger() {
    let budget = "budget: {usd: 1, per: day}";
    let priced = "models: {a: {price: {input: 1, output: 1}}}";
    for tenant in [
        format!("{{open: true, pool: [a], {budget}}}"),
        format!("{{keys: [{{key: k, name: n, {budget}}}], pool: [a]}}"),
        format!("{{projects: {{p: {{keys: [{{key: k, name: n}}], {budget}}}}}, pool: [a]}}"),
    ] {
        let with = |database: &str| {
            let text = format!("{priced}\ntenants: {{t: {tenant}}}\nredis: redis://localhost\n{database}");
            findings(&text).join("\n")
        };
        for lacking in ["", "database: none\n", "database: sqlite:x.db\n"] {
            let found = with(lacking);
            assert!(
                found.starts_with("3:1: error: redis: budgets are shared here, and their ledger is not; add `database: postgres://…`"),
                "{found}"
            );
            assert!(found.ends_with("(tenant `t` has a budget)"), "{found}");
        }
        assert_eq!(with("database: postgres://localhost/x\n"), "");
        let found = with("database: postgres://\n");
        assert!(found.starts_with("4:11: error: database: ") && !found.contains('\n'), "{found}");
    }
    assert_eq!(findings(&with("redis: redis://localhost\ndatabase: none\n")), Vec::<String>::new());
}

#[test]
fn addresses() {
    let wrong = |url: &str| {
        let found = finding(&format!(
            "models: {{a: {{base_url: '{url}'}}}}\ntenants: {{t: {{open: true, pool: [a]}}}}\n"
        ));
        found
            .strip_prefix("1:24: error: models.a.base_url: the URL ")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(wrong("api.openai.com/v1"), "has no scheme");
    assert_eq!(wrong("ftp://host/"), "must begin with http:// or https://");
    assert_eq!(wrong("https:///v1"), "has no host");
    assert_eq!(wrong("https://:443/v1"), "has no host");
    assert_eq!(wrong("https://host:99999/v1"), "has a port that is no port number");
    assert_eq!(wrong("https://host:/v1"), "has a port that is no port number");
    assert_eq!(wrong("https://[::1]:x/v1"), "has a port that is no port number");
    assert_eq!(wrong("https://[::1/v1"), "is not a URL");
    assert_eq!(wrong("https://ho st/v1"), "is not a URL");
    assert_eq!(wrong("https://user@host/v1"), "must not carry a user name or password");
    assert_eq!(wrong("https://host/v1#x"), "must not carry a fragment");
}

#[test]
fn a_file_that_is_not_there() {
    let found = pointsman::config::Config::load(std::path::Path::new("no/such.yaml")).unwrap_err();
    assert!(found.to_string().starts_with("no/such.yaml: error: cannot be read: "), "{found}");
}

#[test]
fn for_programs() {
    let found = parse("models: {a: {}}\ntenants: {t: {open: true, pool: [b]}}\n").unwrap_err();
    let found: Vec<_> = found.errors().collect();
    let expected = json!([{
        "severity": "error", "file": "config.yaml", "line": 2, "column": 34, "path": "tenants.t.pool[0]",
        "message": "no model `b`", "hint": "allowed: `a`",
    }]);
    assert_eq!(serde_json::to_value(found).unwrap(), expected);
}

#[test]
fn a_request_timeout_that_rules_fallbacks_out_is_told() {
    let routes = |request_timeout: &str| {
        with(&format!("routes: {{auto: {{models: [a, b], request_timeout: {request_timeout}}}}}\n"))
    };
    let said = finding(&routes("300s"));
    assert!(said.starts_with("3:16: warning: routes.auto: its request_timeout leaves no time"), "{said}");
    assert_eq!(findings(&routes("301s")), Vec::<String>::new());
    let sooner = routes("60s").replacen("{a: {}, b: {}}", "{a: {timeouts: {first_token: 20s}}, b: {}}", 1);
    assert_eq!(findings(&sooner), Vec::<String>::new());
}

#[test]
fn later_checks_find_their_place() {
    let config =
        accept("models:\n  gpt-3.5: {elo: 1}\ntenants:\n  t:\n    open: true\n    pool: [gpt-3.5]\n");
    let at = |path: &[&str]| config.source.error(path, "is wrong", None).to_string();
    assert_eq!(
        at(&["models", "gpt-3.5", "elo"]),
        "config.yaml:2:18: error: models.\"gpt-3.5\".elo: is wrong"
    );
    assert_eq!(at(&["models", "gpt-3.5"]), "config.yaml:2:3: error: models.\"gpt-3.5\": is wrong");
    assert_eq!(at(&["tenants", "t", "pool", "0"]), "config.yaml:6:12: error: tenants.t.pool[0]: is wrong");
    assert_eq!(at(&["tenants", "t", "pool", "7"]), "config.yaml:6:5: error: tenants.t.pool[7]: is wrong");
    assert_eq!(at(&["routes", "auto", "artifact"]), "config.yaml:1:1: error: routes.auto.artifact: is wrong");
    let warning = config.source.warning(&["models"], "is odd", Some("look".to_owned()));
    assert_eq!(warning.to_string(), "config.yaml:1:1: warning: models: is odd; look");
}
