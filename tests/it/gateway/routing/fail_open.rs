//! A router that is slow, overloaded or failing never fails a request.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
    mpsc::sync_channel,
};

use pointsman_routers::RouterError;
use tokio::sync::Semaphore;

use super::{PRIORS, TENANTS, Upstreams, ask, stand, who};
use crate::{
    answers::{answer, chat},
    router::Scripted,
    stand::Stand,
    upstream::{Script, Upstream, soon},
};

const ROUTES: &str = "{auto: {router: mf, threshold: 0, timeout: 50ms}}";

/// The default model answers, and one counter says why.
async fn opens(router: Scripted, reason: &str) -> (Stand, Upstreams) {
    let upstreams = Upstreams::start().await;
    let stand = stand(&upstreams, &router, ROUTES).await;
    assert_eq!(who(&stand, ask("auto", "hi")).await, "medium", "the tenant's default model");
    for known in ["timeout", "overloaded", "error", "panic", "unrated"] {
        let labels = ["router=\"mf\"", &format!("reason=\"{known}\"")];
        let expected = if known == reason { 1 } else { 0 };
        assert_eq!(stand.metric("pointsman_fail_open_total", &labels), expected, "{known}");
    }
    assert_eq!(stand.metric("pointsman_decisions_total", &["model=\"medium\""]), 1);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
    (stand, upstreams)
}

/// A router that says nothing until the sender is dropped.
fn hung(started: &Arc<Semaphore>) -> (Scripted, std::sync::mpsc::SyncSender<()>) {
    let (release, released) = sync_channel::<()>(0);
    let (released, started) = (Mutex::new(released), Arc::clone(started));
    let router = Scripted::new("mf", PRIORS).slow().says(move |_, _| {
        started.add_permits(1);
        let _ = released.lock().unwrap().recv();
        Ok(0.0)
    });
    (router, release)
}

#[tokio::test(start_paused = true)]
async fn a_slow_router_fails_open() {
    let (router, release) = hung(&Arc::new(Semaphore::new(0)));
    let begun = tokio::time::Instant::now();
    opens(router, "timeout").await;
    let waited = begun.elapsed().as_millis();
    assert!((50..100).contains(&waited), "{waited} ms for a timeout of 50");
    drop(release);
}

#[tokio::test]
async fn a_failing_router_fails_open() {
    opens(Scripted::new("mf", PRIORS).says(|_, _| Err(RouterError::NotFinite)), "error").await;
    opens(Scripted::new("mf", PRIORS).slow().says(|_, _| Err(RouterError::NotFinite)), "error").await;
}

#[tokio::test]
async fn a_router_without_finite_skills_fails_open() {
    opens(Scripted::new("mf", PRIORS).says(|_, _| Ok(f64::NAN)), "error").await;
    opens(Scripted::new("mf", PRIORS).says(|_, _| Ok(f64::INFINITY)), "error").await;
}

#[tokio::test]
async fn a_panicking_router_fails_open_and_goes_on() {
    for slow in [false, true] {
        let asked = AtomicBool::new(false);
        let router = Scripted::new("mf", PRIORS).says(move |_, model| {
            assert!(
                asked.swap(true, Ordering::Relaxed),
                "the first time it panics, as this test means it to"
            );
            Ok(if model == "large" { 9.0 } else { 0.0 })
        });
        let (stand, _upstreams) = opens(if slow { router.slow() } else { router }, "panic").await;
        assert_eq!(who(&stand, ask("auto", "hi")).await, "large", "the next decision is the router's again");
    }
}

#[tokio::test]
async fn a_router_that_knows_no_model_fails_open() {
    opens(Scripted::new("mf", &[("others", 0.0)]), "unrated").await;
}

#[tokio::test]
async fn a_full_queue_fails_open() {
    let started = Arc::new(Semaphore::new(0));
    let (router, release) = hung(&started);
    let upstreams = Upstreams::start().await;
    let stand = upstreams
        .setup(|_| "")
        .server("router_queue: 1")
        .tenants(TENANTS)
        .routes("{auto: {router: mf, threshold: 0, timeout: 60s}}")
        .engine("mf", router.engine())
        .start()
        .await;
    let overloaded = || stand.metric("pointsman_fail_open_total", &["reason=\"overloaded\""]);
    let first = stand.chat(ask("auto", "one"));
    let rest = async {
        soon("the router's first question", started.acquire()).await.unwrap().forget();
        // One of these finds the only place in the queue, the other none.
        let others = async { tokio::join!(stand.chat(ask("auto", "two")), stand.chat(ask("auto", "three"))) };
        let watch = async {
            stand.eventually("a full queue", || overloaded() > 0).await;
            drop(release);
        };
        tokio::join!(others, watch).0
    };
    let (first, (second, third)) = tokio::join!(first, rest);
    assert!([first.status, second.status, third.status].iter().all(|status| *status == 200));
    assert_eq!(overloaded(), 1);
}

#[tokio::test]
async fn a_default_model_that_cannot_serve_gives_way_to_the_best_that_can() {
    let upstreams = Upstreams::start().await;
    let stand = upstreams
        .setup(|name| if name == "medium" { "features: []" } else { "features: [tools]" })
        .tenants(TENANTS)
        .routes(ROUTES)
        .engine("mf", Scripted::new("mf", PRIORS).says(|_, _| Err(RouterError::NotFinite)).engine())
        .start()
        .await;
    let body =
        r#"{"model":"auto","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function"}]}"#;
    assert_eq!(who(&stand, body.to_owned()).await, "large", "the highest global rating");
}

/// After a fail-open the ranking goes on below the default model.
#[tokio::test]
async fn a_default_model_that_fails_has_fallbacks_too() {
    let broken = Upstream::start([Script::json(500, "{}")]).await;
    let (large, small) = (
        Upstream::start([Script::json(200, &answer("l"))]).await,
        Upstream::start([Script::json(200, &answer("s"))]).await,
    );
    let stand = crate::stand::Setup::new()
        .model("medium", &broken.base_url(), "")
        .model("small", &small.base_url(), "")
        .model("large", &large.base_url(), "")
        .tenants(TENANTS)
        .routes(ROUTES)
        .engine("mf", Scripted::new("mf", PRIORS).says(|_, _| Err(RouterError::NotFinite)).engine())
        .start()
        .await;
    let reply = stand.chat(chat("auto")).await;
    assert_eq!(
        (reply.header("x-pointsman-model"), reply.header("x-pointsman-attempts")),
        (Some("large"), Some("2"))
    );
}

/// Called by name it answers; routed to it is never, and the others are.
#[tokio::test]
async fn a_model_that_no_row_describes_is_not_routed_to() {
    let upstreams = Upstreams::start().await;
    let stand = stand(&upstreams, &Scripted::new("mf", &PRIORS_WITHOUT_LARGE), ROUTES).await;
    assert_eq!(who(&stand, ask("auto", "hi")).await, "medium");
    assert_eq!(who(&stand, ask("large", "hi")).await, "large");
    assert_eq!(stand.metric("pointsman_fail_open_total", &[]), 0);
}

const PRIORS_WITHOUT_LARGE: [(&str, f64); 2] = [("small", 0.0), ("medium", 1.0)];
