//! What operators watch: decisions as they are made, and what there is to choose from.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::invalid;
use crate::{
    http::{
        app::App,
        error::Failure,
        exchange::say_event_stream,
        respond::{ResponseBody, json},
    },
    telemetry::live::{Told, What},
};

/// How often a stream on which nothing happens shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Streams at a time.
const WATCHERS_MAX: usize = 64;

/// `GET /admin/decisions`: the latest decisions; as a stream of events, with all that comes.
pub(super) fn decisions(
    app: &Arc<App>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Decisions<'a> {
        decisions: Vec<&'a Told>,
    }
    let after = match query.filter(|query| !query.is_empty()) {
        None => 0,
        Some(query) => query
            .strip_prefix("after=")
            .and_then(|seq| seq.parse().ok())
            .ok_or_else(|| invalid("the query may be `after=SEQ` alone"))?,
    };
    let live = &app.books.live;
    let wants_events = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    if !wants_events {
        let told = live.after(after).0;
        let decisions = told.iter().map(|told| &**told).filter(|told| matches!(told.what, What::Decision(_)));
        return Ok(json(&Decisions { decisions: decisions.collect() }));
    }
    if live.watchers() >= WATCHERS_MAX {
        return Err(Failure::Overloaded);
    }
    let (latest, coming) = live.after(after);
    let first: Vec<u8> = latest.iter().flat_map(|told| event(told)).collect();
    let stream = unfold((Some(first), coming, Arc::clone(app)), |(first, coming, app)| async move {
        let (bytes, coming) = match first {
            Some(first) if !first.is_empty() => (first.into(), coming),
            // Whoever connects knows at once that it has.
            Some(_) => (Bytes::from_static(b": nothing yet\n\n"), coming),
            None => next(coming, &app).await?,
        };
        Some((Ok::<_, Infallible>(Frame::data(bytes)), (None, coming, app)))
    });
    let body = StreamBody::new(stream).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    say_event_stream(&mut response);
    Ok(response)
}

/// The next bytes of a stream; none once the gateway is about to stop.
async fn next(mut coming: Receiver<Arc<Told>>, app: &App) -> Option<(Bytes, Receiver<Arc<Told>>)> {
    let told = app.closing.run_until_cancelled(timeout(HEARTBEAT, coming.recv())).await?;
    let bytes = match told {
        Ok(Ok(told)) => event(&told).into(),
        Ok(Err(RecvError::Lagged(missed))) => format!(": {missed} missed\n\n").into(),
        Ok(Err(RecvError::Closed)) => return None,
        Err(_) => Bytes::from_static(b": nothing new\n\n"),
    };
    Some((bytes, coming))
}

fn event(told: &Told) -> Vec<u8> {
    let data = serde_json::to_string(told).unwrap_or_default();
    format!("event: {}\nid: {}\ndata: {data}\n\n", told.event(), told.seq).into()
}

/// `GET /admin/pools`: each tenant's routes and models.
pub(super) fn pools(app: &App) -> Response<ResponseBody> {
    #[derive(Serialize)]
    struct Pools<'a> {
        tenants: Vec<Pool<'a>>,
    }
    #[derive(Serialize)]
    struct Pool<'a> {
        name: &'a str,
        default_route: &'a str,
        routes: Vec<&'a str>,
        models: Vec<&'a str>,
    }
    let snapshot = app.snapshot.load();
    let shown = snapshot.tenants().map(|tenant| Pool {
        name: &tenant.name,
        default_route: &tenant.default_route,
        routes: tenant.plans.routes.keys().map(|route| &**route).collect(),
        models: tenant.plans.models.iter().map(|model| &*model.name).collect(),
    });
    json(&Pools { tenants: shown.collect() })
}
