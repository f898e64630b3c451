//! `/admin/…`: what operators and their scripts ask for, on their own listener.

mod budgets;
mod place;
mod tenants;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::task::TaskTracker;

use place::Place;

use super::{
    app::App,
    body,
    error::{Failure, OperatorFault},
    meta,
    respond::{ResponseBody, failure, json, json_text},
    serve, usage,
};
use crate::{
    budget::{BudgetRule, Period},
    config::{Usd, read_instant},
    store::{KeyStore, NewKey, StoreError, StoredKey},
};

/// What there is for operators, as OpenAPI 3.1 describes it.
const DOCUMENT: &str = include_str!("admin/openapi.json");
/// More than any request of an operator's needs.
const BODY_BYTES_MAX: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a rotated key goes on to hold where the request does not say.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// Answers an operator.
pub(super) async fn answer(
    app: &Arc<App>,
    path: &str,
    request_id: &HeaderValue,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    if let Err(why) = check_key(app, request.headers()) {
        return failure(&why.into());
    }
    let Some(place) = Place::of(path) else { return failure(&Failure::UnknownPath) };
    if !place.takes(request.method()) {
        return failure(&Failure::Method(place.methods()));
    }
    let query = request.uri().query();
    let answered = match place {
        Place::Reload => Ok(meta::reload(app).await),
        Place::Usage => Ok(usage::usage(app, query).await),
        Place::Budgets => budgets::answer(app, query),
        Place::Decisions => watch::decisions(app, query, request.headers()),
        Place::Pools => Ok(watch::pools(app)),
        Place::As(tenant, asked) => in_the_name_of(app, (tenant, asked), request_id, request).await,
        Place::Document => Ok(json_text(StatusCode::OK, DOCUMENT)),
        Place::Keys | Place::Key(_) | Place::Rotation(_) => keys_answer(app, place, request).await,
        Place::Tenants => tenants::list_answer(app, request).await,
        Place::Tenant(name) => tenants::answer(app, name, request).await,
    };
    answered.unwrap_or_else(|why| failure(&why))
}

/// A request of an operator's in a tenant's name: it costs the tenant money, so operators must have keys.
async fn in_the_name_of(
    app: &Arc<App>,
    (tenant, asked): (&str, place::Asked),
    request_id: &HeaderValue,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Failure> {
    let snapshot = app.snapshot.load_full();
    if snapshot.operators.is_empty() {
        return Err(OperatorFault::NoKeys.into());
    }
    let name = percent_encoding::percent_decode_str(tenant).decode_utf8_lossy();
    let unknown = || OperatorFault::Unknown(format!("there is no tenant `{name}`"));
    let caller = snapshot.itself(&name).ok_or_else(unknown)?;
    // Boxed: it is as large as everything else together, and rare.
    Ok(Box::pin(serve::as_tenant(app, caller, asked == place::Asked::Why, request_id, request)).await)
}

/// The body of a request that changes something, or tells what may be changed: only where operators have keys.
async fn read_body(app: &App, request: Request<Incoming>) -> Result<Bytes, Failure> {
    if app.snapshot.load().operators.is_empty() {
        return Err(OperatorFault::NoKeys.into());
    }
    let (head, incoming) = request.into_parts();
    body::read(&head.headers, incoming, BODY_BYTES_MAX, BODY_TIMEOUT).await
}

/// Where operators have keys, one of them is needed.
fn check_key(app: &App, headers: &HeaderMap) -> Result<(), OperatorFault> {
    let snapshot = app.snapshot.load();
    if snapshot.operators.is_empty() {
        return Ok(());
    }
    match snapshot.operators.find(headers) {
        Some(expires) if expires.is_none_or(|at| SystemTime::now() < at) => Ok(()),
        _ => Err(OperatorFault::Unauthorized),
    }
}

/// `/admin/keys`, `/admin/keys/ID`, `/admin/keys/ID/rotate`.
async fn keys_answer(
    app: &Arc<App>,
    place: Place<'_>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Failure> {
    let (method, query) = (request.method().clone(), request.uri().query().map(str::to_owned));
    let body = read_body(app, request).await?;
    match place {
        Place::Keys if method == Method::POST => {
            // Its tenant may have come by another process a moment ago.
            in_store(app, |_| Ok(())).await?;
            let new = new_key(app, &body)?;
            let (made, secret) = in_store(app, move |store| store.create(new)).await?;
            Ok(created(&made, &secret))
        }
        Place::Keys => list(app, query.as_deref()).await,
        Place::Key(id) => {
            let id = id.to_owned();
            in_store(app, move |store| store.revoke(&id)).await?;
            Ok(json(&Revoked { revoked: true }))
        }
        Place::Rotation(id) => {
            let (id, overlap) = (id.to_owned(), overlap(&body)?);
            let (made, secret) = in_store(app, move |store| store.rotate(&id, overlap)).await?;
            Ok(created(&made, &secret))
        }
        _ => Err(Failure::UnknownPath),
    }
}

#[derive(Serialize)]
struct Revoked {
    revoked: bool,
}

/// Does something with the database, off the threads that serve; what has changed is in force when it is done.
async fn in_store<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&KeyStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let store = app.store.get().cloned().ok_or(OperatorFault::NoDatabase)?;
    let app = Arc::clone(app);
    let working = TaskTracker::new().spawn_blocking(move || {
        let done = work(&store)?;
        app.refresh_stored()?;
        Ok(done)
    });
    let done = working.await.map_err(|_| OperatorFault::Database)?;
    done.map_err(|error: StoreError| {
        let fault = match &error {
            StoreError::Taken { .. } => OperatorFault::Taken(error.to_string()),
            StoreError::Unknown(_) => OperatorFault::Unknown(error.to_string()),
            StoreError::Open(_) | StoreError::Database(_) | StoreError::Ledger(_) | StoreError::Random => {
                tracing::error!("tenants and keys: {error}");
                OperatorFault::Database
            }
        };
        fault.into()
    })
}

/// The tenant that a query such as `tenant=NAME` wants alone.
fn wanted_tenant(query: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let tenant = query.strip_prefix("tenant=").filter(|tenant| !tenant.contains('&'));
    let tenant = tenant.ok_or_else(|| invalid("the query may be `tenant=NAME` alone"))?;
    Ok(Some(percent_encoding::percent_decode_str(tenant).decode_utf8_lossy().into_owned()))
}

/// A moment as JSON has it.
fn moment(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

async fn list(app: &Arc<App>, query: Option<&str>) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Keys<'a> {
        keys: Vec<Shown<'a>>,
    }
    let tenant = wanted_tenant(query)?;
    let keys = in_store(app, KeyStore::keys).await?;
    let wanted = |key: &&StoredKey| tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant);
    Ok(json(&Keys { keys: keys.iter().filter(wanted).map(|key| Shown::of(key, None)).collect() }))
}

fn created(made: &StoredKey, secret: &str) -> Response<ResponseBody> {
    let mut response = json(&Shown::of(made, Some(secret)));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A key as operators see it; the key itself once, when it is made.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    name: &'a str,
    prefix: &'a str,
    created: String,
    expires: Option<String>,
    budget: Vec<ShownBudget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownBudget {
    usd: String,
    per: &'static str,
}

impl<'a> Shown<'a> {
    fn of(stored: &'a StoredKey, secret: Option<&'a str>) -> Self {
        let budget = |rule: &BudgetRule| ShownBudget { usd: rule.limit.to_string(), per: rule.per.name() };
        let StoredKey { id, tenant, prefix, created, key } = stored;
        Self {
            id,
            tenant,
            project: key.project.as_deref(),
            name: &key.label,
            prefix,
            created: moment(*created),
            expires: key.expires.map(moment),
            budget: key.budgets.iter().map(budget).collect(),
            key: secret,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    tenant: String,
    project: Option<String>,
    name: Option<String>,
    expires: Option<String>,
    #[serde(default)]
    budget: Vec<WantedBudget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedBudget {
    usd: serde_json::Value,
    per: String,
}

fn invalid(what: impl Into<String>) -> Failure {
    OperatorFault::Invalid(what.into()).into()
}

fn new_key(app: &App, body: &[u8]) -> Result<NewKey, Failure> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    let snapshot = app.snapshot.load();
    let unknown = |what: String| Failure::from(OperatorFault::Unknown(what));
    let tenant = snapshot
        .tenant(&wanted.tenant)
        .ok_or_else(|| unknown(format!("there is no tenant `{}`", wanted.tenant)))?;
    if let Some(project) = &wanted.project
        && !tenant.config.projects.contains_key(project)
    {
        return Err(unknown(format!("tenant `{}` has no project `{project}`", wanted.tenant)));
    }
    if let Some(name) = &wanted.name
        && !crate::config::is_name(name)
    {
        return Err(invalid("a name has up to 128 ASCII letters, digits and `-_.:/@+`"));
    }
    let expires = match &wanted.expires {
        None => None,
        Some(text) => {
            Some(read_instant(text).ok_or_else(|| invalid(format!("`expires`: {text} is no date")))?)
        }
    };
    let mut budgets: Vec<BudgetRule> = Vec::new();
    for budget in &wanted.budget {
        let rule = budget.read()?;
        if budgets.iter().any(|other| other.per == rule.per) {
            return Err(invalid(format!("a second budget per {}", rule.per.name())));
        }
        budgets.push(rule);
    }
    Ok(NewKey { tenant: wanted.tenant, project: wanted.project, name: wanted.name, expires, budgets })
}

impl WantedBudget {
    /// The amount as a number, or as a text.
    fn read(&self) -> Result<BudgetRule, Failure> {
        let usd = match &self.usd {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let limit = Usd::parse(&usd).map_err(|error| invalid(format!("`usd`: {usd} {error}")))?;
        let per = Period::ALL.into_iter().find(|per| per.name() == self.per);
        let per = per.ok_or_else(|| invalid(format!("`per`: {} is none of day, month, total", self.per)))?;
        Ok(BudgetRule { limit, per })
    }
}

/// `{"overlap_seconds": 3600}`, or nothing.
fn overlap(body: &[u8]) -> Result<Duration, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rotation {
        overlap_seconds: Option<u32>,
    }
    if body.is_empty() {
        return Ok(OVERLAP);
    }
    let rotation: Rotation = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    Ok(rotation.overlap_seconds.map_or(OVERLAP, |seconds| Duration::from_secs(seconds.into())))
}
