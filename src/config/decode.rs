//! From positioned nodes to the configuration: which keys there are, and what each may hold.
//!
//! Models are read first, then routes, then tenants, so that each can check the names it uses.

mod delivery;
mod jwt;
mod model;
mod redis;
mod route;
mod served;
mod server;
pub(super) mod tenant;
mod traces;

pub use tenant::read_instant;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::node::shown;
use super::source::Source;
use super::value::{Fields, Value};
use super::{Config, DatabaseConfig, ServerLimits};

/// Where clients connect if the file does not say.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// What `model: auto` means in a request is fixed, so nothing else may bear the name of the tenant's default route.
const AUTO: &str = "auto";

/// RouteLLM's clients name a router by `router-<name>-<threshold>`.
const ROUTER_PREFIX: &str = "router-";

/// Reads the whole document. The result is whole even where errors were reported, and is of no use then.
pub(super) fn config(root: &Value<'_>, source: Source) -> Option<Config> {
    let mut fields = root.fields("a mapping with `models` and `tenants`")?;
    let listen = fields.read("listen", Value::socket_address).unwrap_or(LISTEN);
    let admin_listen = admin_listen(&mut fields, listen);
    let tls = fields.read("tls", server::listener_tls);
    let access_log = fields.read("access_log", server::access_log);
    let admin_keys = fields.read("admin_keys", tenant::admin_keys).unwrap_or_default();
    let alerts = fields.read("alerts", server::alerts).unwrap_or_default();
    let database = fields.take("database");
    let spill = fields.read("spill", server::spill);
    let database = database.map(|value| server::database(&value, spill));
    let redis = redis::read(&mut fields);
    let traces = fields.read("traces", traces::traces);
    let retention = fields.read("retention", server::retention);
    let jwt = fields.read("jwt", jwt::issuers).unwrap_or_default();
    let server = fields.read("server", server::limits).unwrap_or_else(ServerLimits::default);

    let models = fields.require("models", "for example `models: {gpt-4o: {api_key: \"${OPENAI_API_KEY}\"}}`");
    let models = models.map(|models| model::models(&models)).unwrap_or_default();
    let model_names: BTreeSet<&str> = models.keys().map(String::as_str).collect();

    let routes = fields.take("routes");
    let first_token_min = models.values().map(|model| model.timeouts.first_token).min().unwrap_or_default();
    let routes = routes.map_or_else(route::standard, |routes| {
        route::routes(&routes, &Models { names: &model_names, first_token_min })
    });

    // Where operators can put tenants, all may come from them.
    let may_come_later = !admin_keys.is_empty() && database != Some(Some(DatabaseConfig::Off));
    let tenants = if may_come_later {
        fields.take("tenants")
    } else {
        let hint = "it says who may call and which models each may reach; with `admin_keys` and a database operators may";
        fields.require("tenants", hint)
    };
    let tenants = tenants
        .map(|tenants| {
            let keys = if jwt.is_empty() { tenant::KeysFrom::File } else { tenant::KeysFrom::FileOrTokens };
            let names = tenant::Names::of(&models, &model_names, &routes, keys);
            tenant::tenants(&tenants, &names)
        })
        .unwrap_or_default();
    let redis = redis.map(|redis| redis.beside(database.as_ref(), &tenants));
    fields.finish();
    let files = BTreeSet::new();
    Some(Config {
        listen,
        admin_listen,
        tls,
        access_log,
        admin_keys,
        alerts,
        database: database.flatten(),
        redis,
        traces,
        retention,
        jwt,
        server,
        models,
        routes,
        tenants,
        files,
        digest: String::new(),
        source,
    })
}

fn admin_listen(fields: &mut Fields<'_>, listen: SocketAddr) -> Option<SocketAddr> {
    let value = fields.take("admin_listen")?;
    let address = value.socket_address()?;
    if address == listen && address.port() != 0 {
        value.error("is the same as `listen`", "operators and clients connect to different ports".to_owned());
    }
    Some(address)
}

/// What routes need to know of the models.
struct Models<'a> {
    names: &'a BTreeSet<&'a str>,
    /// The shortest `timeouts.first_token` among them.
    first_token_min: Duration,
}

/// The entries of a mapping from names to something. At least one; names are short and plain, since they appear in
/// headers, metrics and URLs.
pub(super) fn named<'a>(value: &Value<'a>, what: &str) -> Vec<(&'a str, Value<'a>)> {
    let entries = value.entries(&format!("a mapping from names to {what}s"));
    if entries.is_empty() && value.is_map() {
        value.error_at_name("is empty", format!("it needs at least one {what}"));
    }
    for (name, entry) in &entries {
        check_name(name, entry);
    }
    entries
}

/// Whether a text is fit to be a name: short and plain.
#[must_use]
pub fn is_name(text: &str) -> bool {
    const CHARACTERS_MAX: usize = 128;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+".contains(&byte);
    (1..=CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn check_name(name: &str, entry: &Value<'_>) {
    if !is_name(name) {
        let hint = "up to 128 ASCII letters, digits and `-_.:/@+`".to_owned();
        entry.error_at_name(format!("{} is no name", shown(name)), hint);
    }
}

/// A name that requests use as their `model` must not be one that means a router to RouteLLM's clients.
fn check_not_reserved(name: &str, entry: &Value<'_>) {
    if name.starts_with(ROUTER_PREFIX) {
        let hint = "`router-<name>-<threshold>` is what RouteLLM's clients send".to_owned();
        entry.error_at_name("a name must not begin with `router-`", hint);
    }
}
