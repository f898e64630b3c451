//! Tenants learn nothing of one another: what another has is answered, byte for byte, as what nobody has.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use pointsman::openai::endpoint::Endpoint;
use serde_json::{Value, json};

use crate::{
    answers::answer,
    client::Reply,
    operator::{OPERATOR, admin_keys, operate},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

/// Of A's, nobody's; as long as those of B's below.
const UNKNOWN: [&str; 6] = ["of-x", "for-x", "of-x/deep", "of x", "OF-B", "router-of-x-0.5"];
/// What is B's: a model, a route, a model whose name has a slash. Then what only looks so.
const OF_B: [&str; 6] = ["of-b", "for-b", "of-b/deep", "of b", "OF-A", "router-of-b-0.5"];

/// A gateway with a tenant A; and with a tenant B in the file and one in the store, if it is to be shared.
async fn stand(upstream: &Upstream, folder: &tempfile::TempDir, is_shared: bool) -> Stand {
    let url = upstream.base_url();
    let file = folder.path().join(if is_shared { "shared.db" } else { "alone.db" });
    let setup = Setup::new()
        .model("of-a", &url, "features: []")
        .model("too", &url, "features: []")
        .top(&format!("database: \"sqlite:{}\"\n{}", file.display(), admin_keys()));
    let a = "a: {keys: [{key: key-a}], pool: [of-a, too], default_route: for-a, projects: {p: {keys: [{key: key-p}]}}}";
    if !is_shared {
        return setup
            .routes("{for-a: {models: [of-a], retry: {max: 0}}}")
            .tenants(&format!("{{{a}}}"))
            .start()
            .await;
    }
    let features = "features: [tools, vision, json_schema, audio]";
    let stand = setup
        .model("of-b", &url, features)
        .model("of-b/deep", &url, features)
        .model("of-c", &url, features)
        .routes("{for-a: {models: [of-b, of-a, of-c], retry: {max: 0}}, for-b: {models: [of-b]}, for-c: {models: [of-c]}}")
        .tenants(&format!(
            "{{{a}, b: {{keys: [{{key: key-b}}, {{key: expired, expires: 2001-01-01}}], pool: [of-b, of-b/deep], default_route: for-b, projects: {{q: {{keys: [{{key: key-q}}]}}}}}}}}"
        ))
        .start()
        .await;
    let c = (Method::PUT, "/admin/tenants/c");
    let (status, said) =
        operate(&stand, OPERATOR, c, json!({"pool": ["of-c"], "default_route": "for-c"})).await;
    assert_eq!(status, 201, "{said}");
    stand
}

async fn ask(stand: &Stand, key: &str, (method, path): (Method, &str), body: String) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gateway")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"));
    stand.client().await.last(request.body(Full::from(body)).unwrap()).await
}

/// An answer without what differs by itself: its request's id and date, and the name that was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

async fn plain(mut reply: Reply, name: &str) -> Plain {
    let fixed = |name: &str| !matches!(name, "x-request-id" | "date");
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(header, _)| fixed(header.as_str()))
        .map(|(header, value)| (header.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let status = reply.status.as_u16();
    Plain { status, headers, body: reply.text().await.replace(name, "NAME") }
}

/// Bodies that each endpoint takes, for a model.
fn bodies(endpoint: Endpoint, model: &str) -> Vec<Value> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let whole = match endpoint {
        Endpoint::Chat => json!({"model": model, "messages": messages}),
        Endpoint::Completions => json!({"model": model, "prompt": "hi"}),
        Endpoint::Embeddings => json!({"model": model, "input": "hi"}),
        Endpoint::Responses => json!({"model": model, "input": "hi"}),
    };
    let with = |more: Value| {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        whole.clone(),
        with(json!({"stream": true})),
        with(json!({"max_tokens": 1_000_000_000, "n": 7})),
        with(json!({"tools": [{"type": "function", "function": {"name": "f"}}]})),
        with(json!({"messages": "none", "prompt": 5, "input": {"a": 1}})),
        json!({"model": model}),
    ]
}

/// Every request that can name something.
fn requests(name: &str) -> Vec<(Method, String, String)> {
    let mut all = Vec::new();
    for endpoint in Endpoint::ALL {
        let path = format!("/v1{}", endpoint.path());
        for body in bodies(endpoint, name) {
            all.push((Method::POST, path.clone(), body.to_string()));
        }
    }
    let encoded = name.replace(' ', "%20");
    for path in [format!("/v1/models/{encoded}"), format!("/v1/models/{}", encoded.replace('/', "%2F"))] {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST] {
            all.push((method, path.clone(), String::new()));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_anothers_is_answered_as_what_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let (shared, alone) = (stand(&upstream, &folder, true).await, stand(&upstream, &folder, false).await);
    let mut refused = 0;
    for key in ["key-a", "key-p"] {
        for (theirs, nobodys) in OF_B.into_iter().zip(UNKNOWN) {
            for (of_b, unknown) in requests(theirs).into_iter().zip(requests(nobodys)) {
                let mut seen = Vec::new();
                for (stand, name, (method, path, body)) in
                    [(&shared, theirs, &of_b), (&shared, nobodys, &unknown), (&alone, theirs, &of_b)]
                {
                    let reply = ask(stand, key, (method.clone(), path), body.clone()).await;
                    seen.push(plain(reply, name).await);
                }
                assert!(seen[0] == seen[1] && seen[1] == seen[2], "{of_b:?}: {seen:#?}");
                assert!((400..500).contains(&seen[0].status), "{of_b:?}: {seen:#?}");
                refused += u32::from(seen[0].body.contains("model_not_found"));
            }
        }
    }
    // All but bodies that are wrong, other methods and HEAD.
    assert!(refused > 200, "{refused}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ones_own_is_the_same_whoever_else_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let (shared, alone) = (stand(&upstream, &folder, true).await, stand(&upstream, &folder, false).await);
    let mut all = vec![(Method::GET, "/v1/models".to_owned(), String::new())];
    // A route that lists B's models, too, and a request that only those could serve.
    for name in ["auto", "for-a", "of-a", "too", "none"] {
        all.extend(requests(name));
    }
    let mut statuses = [0_u32; 6];
    for (method, path, body) in all {
        let mut seen = Vec::new();
        for stand in [&shared, &alone] {
            let reply = ask(stand, "key-a", (method.clone(), &path), body.clone()).await;
            let mut one = plain(reply, "NAME").await;
            // How long the decision took is by chance.
            one.headers.retain(|(name, _)| name != "x-pointsman-decision-us");
            seen.push(one);
        }
        assert_eq!(seen[0], seen[1], "{method} {path} {body}");
        for word in ["of-b", "for-b", "of-c", "for-c"] {
            assert!(!format!("{:?}", seen[0]).contains(word), "{word}: {:?}", seen[0]);
        }
        statuses[usize::from(seen[0].status / 100)] += 1;
    }
    assert!(statuses[2] > 20 && statuses[4] > 20, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_does_not_hold_is_one_that_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let stand = stand(&upstream, &folder, true).await;
    let make = |tenant: &'static str| {
        let stand = &stand;
        async move {
            let new = json!({"tenant": tenant});
            let (_, made) = operate(stand, OPERATOR, (Method::POST, "/admin/keys"), new).await;
            (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
        }
    };
    let ((revoked_id, revoked), (rotated_id, rotated)) = (make("b").await, make("b").await);
    let (_, of_deleted) = make("c").await;
    let revoke = format!("/admin/keys/{revoked_id}");
    let rotate = format!("/admin/keys/{rotated_id}/rotate");
    for (of, body) in [
        ((Method::DELETE, &*revoke), Value::Null),
        ((Method::POST, &*rotate), json!({"overlap_seconds": 0})),
        ((Method::DELETE, "/admin/tenants/c"), Value::Null),
    ] {
        assert!(operate(&stand, OPERATOR, of, body).await.0 < 300);
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let keys = ["never", "expired", &revoked, &rotated, &of_deleted, "key-c", "key-", "key-bb", OPERATOR];
    let mut all = requests("of-b");
    all.extend(requests("of-x"));
    all.push((Method::GET, "/v1/models".to_owned(), String::new()));
    all.push((Method::GET, "/v1/nothing".to_owned(), String::new()));
    all.push((Method::GET, "/admin/keys".to_owned(), String::new()));
    for (method, path, body) in all {
        let mut seen = Vec::new();
        for key in keys {
            let reply = ask(&stand, key, (method.clone(), &path), body.clone()).await;
            seen.push(plain(reply, "NAME").await);
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{method} {path}: {seen:#?}");
        assert_eq!(seen[0].status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn the_operators_paths_are_nowhere_among_the_clients() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let stand = stand(&upstream, &folder, true).await;
    let (_, document) = operate(&stand, OPERATOR, (Method::GET, "/admin/openapi.json"), Value::Null).await;
    let paths = document["paths"].as_object().unwrap();
    let paths =
        paths.keys().filter(|path| !path.starts_with("/health/")).map(|path| path.replace(['{', '}'], ""));
    let mut count = 0;
    for path in paths {
        for key in ["key-a", "key-b", OPERATOR, "never"] {
            for method in
                [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH]
            {
                let nowhere = ask(&stand, key, (method.clone(), "/nowhere"), String::new()).await;
                let nowhere = plain(nowhere, "NAME").await;
                let reply = ask(&stand, key, (method.clone(), &path), String::new()).await;
                let reply = plain(reply, "NAME").await;
                // Whoever asks for metrics is told that they are not here, with a key or without.
                if path == "/metrics" {
                    assert_eq!(reply.status, 404);
                } else {
                    assert_eq!(reply, nowhere, "{method} {path}");
                }
                assert!(matches!(reply.status, 401 | 404));
                count += 1;
            }
        }
    }
    assert!(count > 150, "{count}");
}
