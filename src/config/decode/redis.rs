//! Reads `redis` and `on_store_loss`.

use std::collections::BTreeMap;

use crate::config::{
    database::{Database, DatabaseConfig},
    redis::{OnStoreLoss, RedisConfig, RedisUrl},
    tenant::TenantConfig,
    usd::Usd,
    value::{Fields, Value},
};

const EXPECTED: &str = "`redis://user:password@host:6379/0`, or rediss:// for TLS";

/// A Redis server, and where the file names it.
pub(super) struct Read<'a>(Value<'a>, RedisConfig);

/// Both keys; `None` where there is no server, or no right one.
pub(super) fn read<'a>(fields: &mut Fields<'a>) -> Option<Read<'a>> {
    let (redis, on_store_loss) = (fields.take("redis"), fields.take("on_store_loss"));
    if let (Some(value), None) = (&on_store_loss, &redis) {
        let hint = "it says what becomes of budgets while Redis is away".to_owned();
        value.error_at_name("means nothing without `redis`", hint);
    }
    let on_store_loss = on_store_loss.and_then(|value| self::on_store_loss(&value)).unwrap_or_default();
    let value = redis?;
    let url = url(&value)?;
    Some(Read(value, RedisConfig { url, on_store_loss }))
}

fn url(value: &Value<'_>) -> Option<RedisUrl> {
    let secret = value.secret(EXPECTED)?;
    match RedisUrl::parse(secret.expose()) {
        Ok(url) => {
            if url.tells_its_password() {
                let hint = "rediss:// speaks to it by TLS".to_owned();
                value.warning("its password goes over the network for all to read", hint);
            }
            Some(url)
        }
        Err(why) => {
            value.error(format!("is no URL of Redis: {why}"), format!("expects {EXPECTED}"));
            None
        }
    }
}

/// `refuse`, or `allow(5)`.
fn on_store_loss(value: &Value<'_>) -> Option<OnStoreLoss> {
    const HINT: &str = "`refuse`, or `allow(5)` with an amount in USD";
    let scalar = value.scalar(HINT)?;
    let text = scalar.text.trim();
    if text == "refuse" {
        return Some(OnStoreLoss::Refuse);
    }
    let Some(amount) = text.strip_prefix("allow(").and_then(|rest| rest.strip_suffix(')')) else {
        value.error(format!("{} is not allowed here", scalar.shown()), HINT.to_owned());
        return None;
    };
    match Usd::parse(amount.trim()) {
        Ok(amount) => Some(OnStoreLoss::Allow(amount)),
        Err(error) => {
            value.error(format!("the amount of {} {error}", scalar.shown()), HINT.to_owned());
            None
        }
    }
}

impl Read<'_> {
    /// The server. Budgets that are shared there need a ledger to be known from again, once it has forgotten them.
    pub(super) fn beside(
        self,
        database: Option<&Option<DatabaseConfig>>,
        tenants: &BTreeMap<String, TenantConfig>,
    ) -> RedisConfig {
        let Self(value, redis) = self;
        // What cannot be read was complained about.
        let has_ledger = matches!(database, Some(None | Some(DatabaseConfig::In(Database::Postgres { .. }))));
        let with_budget = tenants.iter().find(|(_, tenant)| has_budget(tenant));
        if let (Some((name, _)), false) = (with_budget, has_ledger) {
            let hint = format!(
                "add `database: postgres://…`, the ledger that all gateways write: what was spent is known from it when Redis has \
                 lost it (tenant `{name}` has a budget)"
            );
            value.error_at_name("budgets are shared here, and their ledger is not", hint);
        }
        redis
    }
}

fn has_budget(tenant: &TenantConfig) -> bool {
    !tenant.budgets.is_empty()
        || tenant.projects.values().any(|budgets| !budgets.is_empty())
        || tenant.keys.iter().any(|key| !key.budgets.is_empty())
}
