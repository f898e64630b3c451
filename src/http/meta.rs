//! What the gateway says of itself: the models of a tenant, its health, its metrics.

use std::time::SystemTime;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    app::App,
    error::Failure,
    respond::{ResponseBody, failure, full, json, json_text},
};
use crate::{
    resilience::breaker::Position,
    routing::plan::{Plan, RulePlan},
    snapshot::Tenant,
};

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

fn entry<'a>(id: &'a str, owned_by: &'static str) -> Entry<'a> {
    // OpenAI's objects have a date; a configuration has none.
    Entry { id, object: "model", created: 0, owned_by }
}

/// `GET /v1/models`: what this tenant can put into `model`, its routes first.
pub(super) fn models(tenant: &Tenant) -> Response<ResponseBody> {
    let routes = tenant.plans.routes.keys().map(|name| &**name);
    let auto = (!tenant.plans.routes.contains_key("auto")).then_some("auto");
    let routes = auto.into_iter().chain(routes).map(|name| entry(name, "pointsman-route"));
    let models = tenant.plans.models.iter().map(|model| entry(&model.name, "pointsman"));
    json(&List { object: "list", data: routes.chain(models).collect() })
}

/// `GET /v1/models/NAME`: one of them.
pub(super) fn model(tenant: &Tenant, name: &str) -> Option<Response<ResponseBody>> {
    let is_route = name == "auto" || tenant.plans.routes.contains_key(name);
    if is_route {
        return Some(json(&entry(name, "pointsman-route")));
    }
    let known = tenant.plans.models.iter().any(|model| &*model.name == name);
    known.then(|| json(&entry(name, "pointsman")))
}

/// `GET /health/live`: the process answers.
pub(super) fn live() -> Response<ResponseBody> {
    json_text(StatusCode::OK, r#"{"status":"live"}"#)
}

/// `GET /health/ready`: traffic is welcome.
pub(super) fn ready(app: &App) -> Response<ResponseBody> {
    if app.is_ready() {
        json_text(StatusCode::OK, r#"{"status":"ready"}"#)
    } else {
        json_text(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    }
}

/// `POST /admin/reload`: reads the configuration anew.
pub(super) async fn reload(app: &App) -> Response<ResponseBody> {
    #[derive(Serialize)]
    struct Said<'a> {
        result: &'a str,
        version: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    let Some(reload) = app.reload() else { return failure(&Failure::UnknownPath) };
    let done = reload().await;
    let said = match &done {
        Ok(version) => Said { result: "ok", version: *version, reason: None },
        Err(why) => Said { result: "error", version: app.version(), reason: Some(why) },
    };
    let mut response = json(&said);
    if done.is_err() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// What moves with time alone, or is known elsewhere: looked at when somebody asks.
fn show_state(app: &App) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for (gauge, count) in [(&app.metrics.queued, app.admission.waiting()), (&app.metrics.tasks, tasks)] {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for (tenant, in_flight) in app.limiters.in_flight() {
        let gauge = app.metrics.limits.in_flight.with_label_values(&[&*tenant]);
        gauge.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }
    let now = Instant::now();
    for model in app.snapshot.load().tenants().flat_map(|tenant| &tenant.upstreams) {
        let open = match model.breaker(now) {
            Position::Closed => 0.0,
            Position::HalfOpen => 0.5,
            Position::Open => 1.0,
        };
        app.metrics.upstreams.breaker_open.with_label_values(&[&*model.name]).set(open);
    }
    app.metrics.cache.show(app.caches.fills());
    show_plans(app);
    let (snapshot, now) = (app.snapshot.load(), SystemTime::now());
    app.metrics.config_info.reset();
    app.metrics.config_info.with_label_values(&[snapshot.digest()]).set(1);
    let purses = snapshot.callers().filter_map(|caller| caller.purse.as_ref());
    app.metrics.budgets.show(purses.flat_map(|purse| purse.standing(now)));
}

/// How routes that routers decide stand.
fn show_plans(app: &App) {
    let metrics = &app.metrics.routing;
    metrics.forget_plans();
    let snapshot = app.snapshot.load();
    for tenant in snapshot.tenants() {
        for (route, plan) in &tenant.plans.routes {
            let Plan::Learned(plan) = &**plan else { continue };
            if let Some(version) = plan.engine.version() {
                let labels = [&**route, plan.engine.router().name(), &**version];
                metrics.artifact.with_label_values(&labels).set(1);
            }
            if !plan.has_choice() {
                continue;
            }
            let labels = [&*tenant.name, &**route];
            if let RulePlan::Threshold { alpha, .. } = plan.rule {
                metrics.threshold.with_label_values(&labels).set(alpha);
            }
            if let Some(share) = plan.strong_share {
                metrics.strong_target.with_label_values(&labels).set(share);
            }
            if let Some(index) = plan.drift.as_ref().and_then(|drift| drift.index()) {
                metrics.drift.with_label_values(&labels).set(index);
            }
        }
    }
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) fn metrics(app: &App) -> Response<ResponseBody> {
    show_state(app);
    app.books.refresh();
    match app.metrics.render() {
        Ok(text) => {
            let mut response = Response::new(full(text));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            json_text(StatusCode::INTERNAL_SERVER_ERROR, r#"{"status":"metrics cannot be rendered"}"#)
        }
    }
}
