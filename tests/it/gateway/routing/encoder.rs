//! Routes whose router reads the vectors of an encoder.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pointsman::{
    gateway::{reload, snapshot},
    routing::embedders::Embedders,
};

use super::ask;
use crate::{
    answers::answer,
    encoder::{MODELS, Trained},
    router::Scripted,
    stand::Setup,
    upstream::{Script, Upstream},
};

fn setup(url: &str, routes: &str) -> Setup {
    MODELS
        .iter()
        .zip(["strong", "weak"])
        .fold(Setup::new(), |setup, (model, name)| setup.model(name, url, &format!("rated_as: {model}")))
        .routes(routes)
}

fn routes(trained: &Trained) -> String {
    let route = format!(
        "router: mf, artifact: {:?}, embedder: {{encoder: {:?}}}, timeout: 60s",
        trained.artifact(),
        trained.encoder()
    );
    format!("{{auto: {{{route}, strong_share: 0.5}}, half: {{{route}, threshold: 0.5}}}}")
}

#[tokio::test]
async fn the_encoder_decides() {
    let trained = Trained::new();
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let setup = || setup(&upstream.base_url(), &routes(&trained));
    let stand = setup().start_shipped().await;
    for round in 0..3 {
        for route in ["auto", "half"] {
            let reply = stand.chat(ask(route, "a b b a")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("x-pointsman-router")),
                (200, Some("mf")),
                "{round}"
            );
        }
        reload(&stand.app, &setup().config()).unwrap();
    }
    assert_eq!(stand.metric("pointsman_decisions_total", &["router=\"mf\""]), 6);
    assert_eq!(stand.metric("pointsman_fail_open_total", &[]), 0);
}

/// However many ask for it, and as long as somebody uses it, until a file changes.
#[test]
fn an_encoder_is_loaded_once() {
    let trained = Trained::new();
    let load = || {
        let embedders = Embedders::only_encoder(&trained.encoder()).unwrap();
        embedders.find(&trained.fingerprint).unwrap()
    };
    let first = load();
    assert!(Arc::ptr_eq(&first, &load()));
    let file = File::options().write(true).open(trained.encoder().join("config.json")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    let second = load();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &load()));
}

fn refused(setup: &Setup) -> String {
    snapshot(&setup.config()).unwrap_err().to_string()
}

/// Both fingerprints, the file, its place, and what to do.
#[test]
fn an_artefact_of_another_embedder_is_refused() {
    let trained = Trained::new();
    let (artifact, encoder) = (trained.artifact(), trained.encoder());
    let of = |fields: &str| {
        refused(&setup("http://127.0.0.1:9", &format!("{{auto: {{router: mf, threshold: 0.5, {fields}}}}}")))
    };
    let shipped = pointsman_routers::embed::default_static().unwrap().fingerprint().to_owned();

    let without = of(&format!("artifact: {artifact:?}"));
    assert!(without.contains("error: routes.auto.artifact: router artefact `"), "{without}");
    for part in [artifact.to_str().unwrap(), &trained.fingerprint, &shipped, "by `embedder: {encoder: DIR}`"]
    {
        assert!(without.contains(part), "{part}: {without}");
    }
    let alone = of(&format!("embedder: {{encoder: {encoder:?}}}"));
    assert!(alone.contains("error: routes.auto.embedder: no artefact of a `mf` router"), "{alone}");
    for part in ["routers/artifacts", "by `artifact:`", "POINTSMAN_ARTIFACTS"] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
    let nowhere = of(&format!("artifact: {artifact:?}, embedder: {{encoder: /nonesuch}}"));
    assert!(
        nowhere.contains("routes.auto.embedder: the encoder in `/nonesuch` cannot be used: "),
        "{nowhere}"
    );
}

#[test]
fn a_router_that_does_not_ship_needs_an_artefact() {
    let of = |route: &str| {
        refused(&setup("http://127.0.0.1:9", &format!("{{auto: {{threshold: 0.5, {route}}}}}")))
    };
    let alone = of("router: bert");
    assert!(alone.contains("error: routes.auto.router: no router `bert` ships in this binary"), "{alone}");
    assert!(alone.contains("name its file by `artifact:`"), "{alone}");
    let trained = Trained::new();
    let other = of(&format!("router: sw, artifact: {:?}", trained.artifact()));
    assert!(other.contains("it holds a router of kind `mf`, expected `sw`"), "{other}");
}

#[tokio::test]
async fn router_strings_name_the_routers_that_there_are() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let router = Scripted::new("sw", &[("gpt-4-1106-preview", 1.0), ("mixtral-8x7b-instruct-v0.1", 0.0)]);
    let stand = setup(&upstream.base_url(), "{auto: {router: sw, threshold: 0.5}}")
        .engine("sw", router.engine())
        .start()
        .await;
    assert_eq!(stand.chat(ask("router-sw-0.3", "x")).await.status, 200);
    let mut unknown = stand.chat(ask("router-knn-0.3", "x")).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.error().await["code"].as_str()),
        (404, Some("model_not_found"))
    );
}
