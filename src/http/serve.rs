//! From a request to its handler.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{
    admin,
    app::App,
    attempt::Call,
    body, chat,
    error::Failure,
    exchange::Exchange,
    explain, forward,
    limits::{self, Held},
    meta,
    observe::Guards,
    page,
    refuse::HeadFault,
    respond::{ResponseBody, failure},
};
use crate::{
    admission::{Full, Permit, QueueRules},
    config::ServerLimits,
    ledger,
    openai::{endpoint::Endpoint, request},
    snapshot::{Caller, Snapshot, Tenant},
    telemetry::{account::Account, bill::Bill, traces::RequestSpan},
    tenancy::limits::Limited,
};

/// More fields than any client sends.
pub const HEADER_FIELDS_MAX: usize = 128;

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Clients', with the operators' paths too where they have no listener of their own.
    Public {
        /// Whether `/metrics` is served here.
        metrics: bool,
    },
    /// Operators'.
    Admin,
}

/// Answers a request. Every answer carries an `x-request-id`.
pub async fn handle(app: Arc<App>, face: Face, request: Request<Incoming>) -> Response<ResponseBody> {
    let request_id = request_id(request.headers());
    let waits_to_be_asked = body::waits_to_be_asked(request.headers());
    // Boxed: a request's future is large, and a connection holds one for all its life.
    let answer = Box::pin(dispatch(&app, face, &request_id, request));
    let mut response = answer.instrument(logged_with(&request_id)).await;
    response.headers_mut().insert("x-request-id", request_id);
    if waits_to_be_asked && !response.status().is_success() {
        // Nobody knows whether a body that was not asked for will come.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What every line logged on the way to the answer carries. The highest level, so that no filter leaves a line
/// without it.
fn logged_with(request_id: &HeaderValue) -> Span {
    tracing::error_span!("request", id = request_id.to_str().unwrap_or_default())
}

/// The client's own, if it is short and plain; else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get("x-request-id").filter(|value| {
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    own.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::now_v7().simple().to_string();
        HeaderValue::from_str(&format!("req_{id}")).unwrap_or_else(|_| HeaderValue::from_static("req_0"))
    })
}

async fn dispatch(
    app: &Arc<App>,
    face: Face,
    request_id: &HeaderValue,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let path = request.uri().path().to_owned();
    let operators = match face {
        Face::Admin => true,
        Face::Public { metrics } => metrics,
    };
    let get = |response: fn(&App) -> Response<ResponseBody>| only_get(request.method(), || response(app));
    match path.as_str() {
        "/health/live" => get(|_| meta::live()),
        "/health/ready" => get(meta::ready),
        "/metrics" if operators => get(meta::metrics),
        // Whoever asks: a key would change nothing.
        "/metrics" => failure(&Failure::UnknownPath),
        path if face == Face::Admin && path.starts_with("/admin/") => {
            admin::answer(app, path, request_id, request).await
        }
        path if face == Face::Admin => match page::file(path) {
            Some(file) => only_get(request.method(), || file),
            None => failure(&Failure::UnknownPath),
        },
        _ => client(app, &path, request_id, request).await,
    }
}

fn only_get(method: &Method, response: impl FnOnce() -> Response<ResponseBody>) -> Response<ResponseBody> {
    if matches!(*method, Method::GET | Method::HEAD) {
        response()
    } else {
        failure(&Failure::Method("GET, HEAD"))
    }
}

/// Where a decision is explained.
const ROUTE: &str = "/v1/route";

/// What is asked of an endpoint.
#[derive(Debug, Clone, Copy)]
struct Asked {
    endpoint: Endpoint,
    /// Only whom it would be asked of, and why.
    is_explained: bool,
}

/// A client's request: counted, whatever becomes of it.
async fn client(
    app: &Arc<App>,
    path: &str,
    request_id: &HeaderValue,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut account = Account::open(&app.books, request_id.to_str().unwrap_or_default());
    let snapshot = app.snapshot.load_full();
    let admitted = admit(&snapshot, request.headers()).await.map(|caller| {
        account.set_caller(&caller.tenant.name, caller.project.as_ref(), caller.key.as_ref());
        account.set_tags(caller.tenant.tags.as_ref());
        Arc::clone(caller)
    });
    let is_explained = path == ROUTE;
    let endpoint = if is_explained { Some(Endpoint::Chat) } else { Endpoint::at(path) };
    let answered = match (admitted, endpoint) {
        (Ok(caller), Some(endpoint)) if request.method() == Method::POST => {
            let asked = Asked { endpoint, is_explained };
            let span = span(app, &mut account, asked, request.headers());
            let response = endpoint_answer(app, &snapshot, (&caller, account), asked, request).await;
            span.iter().for_each(|span| span.answered(response.status().as_u16()));
            return response;
        }
        (Ok(_), Some(_)) => Err(Failure::Method("POST")),
        (Ok(caller), None) => models(&caller.tenant, path, request.method()),
        (Err(why), _) => Err(why),
    };
    let response = answered.unwrap_or_else(|why| {
        why.end(&mut account);
        failure(&why)
    });
    if response.status().is_success() {
        account.ended(crate::telemetry::outcome::Outcome::Ok, None);
    } else {
        let deadline = Instant::now() + snapshot.limits.body_timeout;
        let (head, body) = request.into_parts();
        body::discard(&head.headers, body, snapshot.limits.max_body_bytes, deadline).await;
    }
    response
}

/// An endpoint's answer, to an operator in a tenant's name: what it costs is the tenant's.
pub(super) async fn as_tenant(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    is_explained: bool,
    request_id: &HeaderValue,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut account = Account::open(&app.books, request_id.to_str().unwrap_or_default());
    account.set_caller(&caller.tenant.name, None, None);
    account.set_tags(caller.tenant.tags.as_ref());
    let asked = Asked { endpoint: Endpoint::Chat, is_explained };
    let span = span(app, &mut account, asked, request.headers());
    let response = endpoint_answer(app, &app.snapshot.load_full(), (caller, account), asked, request).await;
    span.iter().for_each(|span| span.answered(response.status().as_u16()));
    response
}

/// The span of a request, where there are any; its account tells of it.
fn span(app: &App, account: &mut Account, asked: Asked, headers: &HeaderMap) -> Option<RequestSpan> {
    account.set_operation(asked.endpoint.operation());
    let path = if asked.is_explained { ROUTE } else { asked.endpoint.client_path() };
    let span = app.traces.get()?.request(path, headers, account.request_id());
    account.set_span(span.clone());
    Some(span)
}

fn models(tenant: &Tenant, path: &str, method: &Method) -> Result<Response<ResponseBody>, Failure> {
    let rest = path.strip_prefix("/v1/models").ok_or(Failure::UnknownPath)?;
    let name = rest.strip_prefix('/').unwrap_or_default();
    if !rest.is_empty() && name.is_empty() {
        return Err(Failure::UnknownPath);
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Failure::Method("GET, HEAD"));
    }
    if name.is_empty() {
        return Ok(meta::models(tenant));
    }
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    meta::model(tenant, &name).ok_or_else(|| Failure::UnknownModel(name.into_owned()))
}

/// Whose request it is, if its head is acceptable.
async fn admit<'a>(snapshot: &'a Snapshot, headers: &HeaderMap) -> Result<&'a Arc<Caller>, Failure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > snapshot.limits.max_header_bytes || headers.len() > HEADER_FIELDS_MAX {
        return Err(HeadFault::TooLarge(snapshot.limits.max_header_bytes).into());
    }
    Ok(snapshot.caller(headers).await?)
}

/// A place for the request's row in the ledger, if there is one.
fn keep_row(app: &App, account: &mut Account) -> Result<(), ledger::Full> {
    let Some(ledger) = app.books.ledger() else { return Ok(()) };
    account.keep(ledger.slot()?);
    Ok(())
}

/// The answer of an endpoint; it tells how its tenant's limits stand, where there are any.
async fn endpoint_answer(
    app: &Arc<App>,
    snapshot: &Snapshot,
    (caller, account): (&Arc<Caller>, Account),
    asked: Asked,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let tenant = &caller.tenant;
    let limited = tenant.limits.map(|limits| app.limiters.of(&tenant.name, limits));
    let of = (caller, limited.as_ref(), account);
    let mut response = bounded_answer(app, &snapshot.limits, of, asked, request).await;
    if let Some(limited) = &limited {
        limits::tell(limited, response.headers_mut());
    }
    response
}

/// Lets a request in: at once, or not, by its tenant's limits, then by the gateway's, after a wait.
async fn enter(
    app: &App,
    queue: QueueRules,
    (tenant, limited): (&Tenant, Option<&Limited>),
    bill: Arc<Bill>,
) -> Result<(Permit, Option<Held>), Failure> {
    let held = match limited {
        None => Ok(None),
        Some(limited) => Held::enter(limited, bill).await.map(Some),
    };
    let held = held.map_err(|exceeded| limits::refused(&app.metrics, &tenant.name, exceeded))?;
    match app.admission.enter(&tenant.name, queue).await {
        Ok(permit) => Ok((permit, held)),
        Err(Full) => {
            if let Some(held) = held {
                held.give_back();
            }
            Err(Failure::Overloaded)
        }
    }
}

async fn bounded_answer(
    app: &Arc<App>,
    limits: &ServerLimits,
    (caller, limited, mut account): (&Arc<Caller>, Option<&Limited>, Account),
    asked: Asked,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, incoming) = request.into_parts();
    let tenant = &caller.tenant;
    let entered = match keep_row(app, &mut account) {
        Ok(()) => enter(app, limits.queue, (tenant, limited), account.bill()).await,
        Err(ledger::Full) => Err(Failure::Overloaded),
    };
    let (permit, held) = match entered {
        Ok(entered) => entered,
        Err(why) => {
            let deadline = Instant::now() + limits.body_timeout;
            body::discard(&head.headers, incoming, limits.max_body_bytes, deadline).await;
            why.end(&mut account);
            return failure(&why);
        }
    };
    let read = body::read(&head.headers, incoming, limits.max_body_bytes, limits.body_timeout).await;
    let request = match read.and_then(|bytes| Ok(request::Request::parse(bytes)?)) {
        Ok(request) => request,
        Err(why) => {
            why.end(&mut account);
            return failure(&why);
        }
    };
    let exchange = Exchange {
        app,
        tenant,
        call: Call {
            endpoint: asked.endpoint,
            headers: head.headers,
            request,
            prompt_tokens: 0,
            caller: Arc::clone(caller),
            response_buffer: limits.response_buffer,
        },
        guards: Guards { account, permit: Some(permit), held, explanation: None, recorder: None },
    };
    match asked.endpoint {
        Endpoint::Chat if asked.is_explained => explain::route(exchange).await,
        Endpoint::Chat => chat::chat(exchange).await,
        Endpoint::Completions | Endpoint::Embeddings | Endpoint::Responses => {
            forward::forward(exchange).await
        }
    }
}
