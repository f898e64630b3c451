//! `/admin/tenants`: tenants that are managed while the gateway runs, beside those of the configuration's file.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::{Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{in_store, invalid, moment, read_body};
use crate::{
    config::{Diagnostics, is_name},
    http::{
        app::App,
        error::{Failure, OperatorFault},
        respond::{ResponseBody, json},
    },
    snapshot::{Managed, Misfit, Snapshot, Tenant},
};

/// `/admin/tenants`.
pub(super) async fn list_answer(
    app: &Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Failure> {
    read_body(app, request).await?;
    list(app).await
}

/// `/admin/tenants/NAME`.
pub(super) async fn answer(
    app: &Arc<App>,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Failure> {
    let method = request.method().clone();
    let body = read_body(app, request).await?;
    let name = percent_decode_str(name).decode_utf8().map_err(|_| invalid("the name is no UTF-8"))?;
    match method {
        Method::PUT => put(app, &name, body).await,
        Method::DELETE => delete(app, &name).await,
        _ => show(app, &name).await,
    }
}

/// A tenant as operators see it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// `file` or `store`.
    source: &'static str,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(flatten)]
    meaning: Option<Meaning<'a>>,
    #[serde(flatten)]
    stored: Option<Stored<'a>>,
}

/// What is in force.
#[derive(Serialize)]
struct Meaning<'a> {
    models: Vec<&'a str>,
    default_route: &'a str,
    projects: Vec<&'a str>,
}

#[derive(Serialize)]
struct Stored<'a> {
    created: String,
    changed: String,
    definition: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    fn of_file(tenant: &'a Tenant) -> Self {
        let meaning = Some(Meaning::of(tenant));
        Self { name: &tenant.name, source: "file", in_force: true, why: None, meaning, stored: None }
    }

    fn of_store(managed: &'a Managed) -> Self {
        let Managed { stored, state } = managed;
        Self {
            name: &stored.name,
            source: "store",
            in_force: state.is_ok(),
            why: state.as_ref().err().map(|why| why.to_string()),
            meaning: state.as_ref().ok().map(|tenant| Meaning::of(tenant)),
            stored: Some(Stored {
                created: moment(stored.created),
                changed: moment(stored.changed),
                definition: serde_json::from_str(&stored.definition).ok(),
            }),
        }
    }
}

impl<'a> Meaning<'a> {
    fn of(tenant: &'a Tenant) -> Self {
        Self {
            models: tenant.config.pool.iter().map(String::as_str).collect(),
            default_route: &tenant.default_route,
            projects: tenant.config.projects.keys().map(String::as_str).collect(),
        }
    }
}

/// What is in force, after what others have changed was looked at.
async fn current(app: &Arc<App>) -> Result<Arc<Snapshot>, Failure> {
    if app.store.get().is_some() {
        in_store(app, |_| Ok(())).await?;
    }
    Ok(app.snapshot.load_full())
}

async fn list(app: &Arc<App>) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Tenants<'a> {
        tenants: Vec<Shown<'a>>,
    }
    let snapshot = current(app).await?;
    let of_file = snapshot.tenants().filter(|tenant| snapshot.is_of_file(&tenant.name));
    let of_store = snapshot.managed().values().map(Shown::of_store);
    let mut tenants: Vec<Shown<'_>> = of_file.map(|tenant| Shown::of_file(tenant)).chain(of_store).collect();
    tenants.sort_by_key(|shown| (shown.name, shown.source));
    Ok(json(&Tenants { tenants }))
}

async fn show(app: &Arc<App>, name: &str) -> Result<Response<ResponseBody>, Failure> {
    let snapshot = current(app).await?;
    let of_file = snapshot.tenant(name).filter(|_| snapshot.is_of_file(name));
    let shown = match (of_file, snapshot.managed().get(name)) {
        (Some(tenant), _) => Shown::of_file(tenant),
        (None, Some(managed)) => Shown::of_store(managed),
        (None, None) => return Err(unknown(name)),
    };
    Ok(json(&shown))
}

fn unknown(name: &str) -> Failure {
    OperatorFault::Unknown(format!("there is no tenant `{name}`")).into()
}

async fn put(app: &Arc<App>, name: &str, body: Bytes) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Put<'a> {
        #[serde(flatten)]
        tenant: Shown<'a>,
        warnings: Vec<String>,
    }
    if !is_name(name) {
        return Err(invalid("a name has up to 128 ASCII letters, digits and `-_.:/@+`"));
    }
    // YAML is more than an interface for programs should promise.
    let _: IgnoredAny = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    let (for_store, owned) = (Arc::clone(app), name.to_owned());
    let (is_new, warnings) = in_store(app, move |store| {
        let fitting = for_store.snapshot.load().fit(&owned, &owned, &body);
        let (read, warnings) = match fitting {
            Ok(fitting) => fitting,
            Err(why) => return Ok(Err(misfit(&owned, why))),
        };
        let put = store.put_tenants(&[(&owned, &read.definition)])?;
        Ok(Ok((put.contains(&true), warnings)))
    })
    .await??;
    let snapshot = app.snapshot.load();
    // Somebody else may have deleted it meanwhile.
    let managed = snapshot.managed().get(name).ok_or_else(|| unknown(name))?;
    let warnings = warnings.warnings().map(ToString::to_string).collect();
    let mut response = json(&Put { tenant: Shown::of_store(managed), warnings });
    if is_new {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

fn misfit(name: &str, why: Misfit) -> Failure {
    let fault = match why {
        Misfit::OfFile => of_file(name),
        Misfit::Invalid(found) => OperatorFault::Definition(errors(&found)),
    };
    fault.into()
}

/// What is doubtful only is no reason.
fn errors(found: &Diagnostics) -> Diagnostics {
    let mut errors = Diagnostics::default();
    found.errors().cloned().for_each(|error| errors.push(error));
    errors
}

fn of_file(name: &str) -> OperatorFault {
    OperatorFault::Taken(format!("the configuration's file has a tenant `{name}`: it is changed there"))
}

async fn delete(app: &Arc<App>, name: &str) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Deleted {
        deleted: bool,
    }
    let snapshot = app.snapshot.load_full();
    let (owned, is_of_file) = (name.to_owned(), snapshot.is_of_file(name));
    // Where the file has one of the same name, the keys are that one's.
    let deleted = in_store(app, move |store| store.delete_tenant(&owned, !is_of_file)).await?;
    match (deleted, is_of_file) {
        (true, _) => Ok(json(&Deleted { deleted })),
        (false, true) => Err(of_file(name).into()),
        (false, false) => Err(unknown(name)),
    }
}
