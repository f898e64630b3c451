//! Keys that are made, rotated and revoked while the gateway runs.

use std::{path::Path, time::Duration};

use http::Method;
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::{KEY, post},
    operator::{OPERATOR, admin_keys, operate},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

async fn stand(upstream: &Upstream, database: &Path, more: &str) -> Stand {
    setup(upstream, database, more).start_shipped().await
}

fn setup(upstream: &Upstream, database: &Path, more: &str) -> Setup {
    Setup::new()
        .model("m", &upstream.base_url(), "price: {input: 0, output: 1}")
        .top(&format!("database: \"sqlite:{}\"\n{more}", database.display()))
        .routes("{auto: {models: [m]}}")
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [m], projects: {{p: {{keys: [{{key: of-p}}]}}}}}}, u: {{keys: [{{key: of-u}}], pool: [m]}}}}"
        ))
}

async fn status(stand: &Stand, key: &str) -> u16 {
    let body = chat("m").replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    stand.client().await.last(request).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_rotates_and_revokes_keys() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, &folder.path().join("k.db"), &admin_keys()).await;
    let new =
        json!({"tenant": "t", "project": "p", "name": "ci", "budget": [{"usd": "0.000006", "per": "day"}]});
    let (created, made) = operate(&stand, OPERATOR, (Method::POST, "/admin/keys"), new.clone()).await;
    assert_eq!(created, 201, "{made}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(status(&stand, key).await, 200, "in force at once");
    assert_eq!(
        operate(&stand, OPERATOR, (Method::POST, "/admin/keys"), new).await.0,
        409,
        "the name is taken"
    );

    let rotate = format!("/admin/keys/{id}/rotate");
    let (rotated, next) =
        operate(&stand, OPERATOR, (Method::POST, &rotate), json!({"overlap_seconds": 3600})).await;
    assert_eq!((rotated, &next["name"], &next["project"]), (201, &json!("ci"), &json!("p")));
    let next_key = next["key"].as_str().unwrap();
    assert_eq!(status(&stand, next_key).await, 200);
    assert_eq!(status(&stand, key).await, 429, "both count against the budget of the name");

    let (_, listed) = operate(&stand, OPERATOR, (Method::GET, "/admin/keys?tenant=t"), Value::Null).await;
    let listed = listed["keys"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|key| key.get("key").is_none() && key["prefix"].as_str().unwrap().len() == 11));
    assert!(listed[0]["expires"].is_string() && listed[1]["expires"].is_null());
    let (_, others) = operate(&stand, OPERATOR, (Method::GET, "/admin/keys?tenant=u"), Value::Null).await;
    assert_eq!(others, json!({"keys": []}));

    let revoke = format!("/admin/keys/{id}");
    assert_eq!(operate(&stand, OPERATOR, (Method::DELETE, &revoke), Value::Null).await.0, 200);
    assert_eq!(status(&stand, key).await, 401, "of no use at once");
    assert_eq!(operate(&stand, OPERATOR, (Method::DELETE, &revoke), Value::Null).await.0, 404);
    // A reload keeps the keys of the database.
    pointsman::gateway::reload(
        &stand.app,
        &setup(&upstream, &folder.path().join("k.db"), &admin_keys()).config(),
    )
    .unwrap();
    assert_eq!((status(&stand, next_key).await, status(&stand, key).await), (429, 401));
    assert_eq!(status(&stand, KEY).await, 200, "a key of the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_changes_holds_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.db");
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, &path, "").await;
    let store = pointsman::store::KeyStore::open(&pointsman::config::Database::Sqlite(path.clone())).unwrap();
    let new = |tenant: &str| pointsman::store::NewKey { tenant: tenant.to_owned(), ..Default::default() };
    let (made, key) = store.create(new("u")).unwrap();
    // Of a tenant that there is not: it stands for nobody.
    let (_, nobodys) = store.create(new("nobody")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((status(&stand, &key).await, status(&stand, &nobodys).await), (200, 401));
    store.revoke(&made.id).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&stand, &key).await, 401);
}

#[tokio::test]
async fn operators_alone_may() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, &folder.path().join("k.db"), &admin_keys()).await;
    for key in ["", "wrong", KEY] {
        for path in [(Method::GET, "/admin/keys"), (Method::POST, "/admin/reload")] {
            assert_eq!(operate(&stand, key, path, Value::Null).await.0, 401, "{key}");
        }
    }
    let bad = [
        (json!({"tenant": "nobody"}), 404),
        (json!({"tenant": "t", "project": "q"}), 404),
        (json!({"tenant": "t", "name": "a b"}), 400),
        (json!({"tenant": "t", "nam": "x"}), 400),
        (json!({"tenant": "t", "expires": "soon"}), 400),
        (json!({"tenant": "t", "budget": [{"usd": -1, "per": "day"}]}), 400),
        (json!({"tenant": "t", "budget": [{"usd": 1, "per": "week"}]}), 400),
        (json!({"tenant": "t", "budget": [{"usd": 1, "per": "day"}, {"usd": 2, "per": "day"}]}), 400),
        (json!([]), 400),
        (Value::Null, 400),
    ];
    for (body, expected) in bad {
        let (status, said) = operate(&stand, OPERATOR, (Method::POST, "/admin/keys"), body.clone()).await;
        assert_eq!(status, expected, "{body} {said}");
        assert!(said["error"]["message"].is_string(), "{said}");
    }
    for (method, path, expected) in [
        (Method::PUT, "/admin/keys", 405),
        (Method::GET, "/admin/keys/x", 405),
        (Method::DELETE, "/admin/keys/x", 404),
        (Method::POST, "/admin/keys/x/rotate", 404),
        (Method::POST, "/admin/keys/x/other", 404),
        (Method::GET, "/admin/keys?owner=t", 400),
        (Method::GET, "/admin/other", 404),
    ] {
        assert_eq!(operate(&stand, OPERATOR, (method, path), Value::Null).await.0, expected, "{path}");
    }
    assert_eq!(stand.get("/admin/keys").await.status, 404, "not on the clients' listener");

    let without = Setup::new().model("m", &upstream.base_url(), "").start().await;
    assert_eq!(operate(&without, OPERATOR, (Method::GET, "/admin/keys"), Value::Null).await.0, 403);
    let without = Setup::new().model("m", &upstream.base_url(), "").top(&admin_keys()).start().await;
    assert_eq!(operate(&without, OPERATOR, (Method::GET, "/admin/keys"), Value::Null).await.0, 404);
}
