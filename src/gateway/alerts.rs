//! Alerts of budgets: once a level of one is reached, a metric says so, and a webhook is told.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    budget::{Holder, Period, Standing},
    http::app::App,
    telemetry::metrics::NONE,
};

/// How often budgets are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The highest level that each budget has been seen at, in the period of this number.
type Seen = HashMap<(Holder, Period), (i64, f64)>;

/// Looks at the budgets again and again. What had been reached before the first look is no news.
pub(super) async fn watch(app: Arc<App>) {
    let mut seen = Seen::new();
    newly_reached(&app, &mut seen);
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (standing, level) in newly_reached(&app, &mut seen) {
            tell(&app, &standing, level).await;
        }
    }
}

/// The budgets that have reached a level since they were last looked at, with the highest.
fn newly_reached(app: &App, seen: &mut Seen) -> Vec<(Standing, f64)> {
    let (snapshot, now) = (app.snapshot.load(), SystemTime::now());
    if snapshot.alerts.levels.is_empty() {
        return Vec::new();
    }
    let mut reached = Vec::new();
    for standing in
        snapshot.callers().filter_map(|caller| caller.purse.as_ref()).flat_map(|purse| purse.standing(now))
    {
        let share = standing.spent.as_f64() / standing.rule.limit.as_f64();
        // Of a budget of nothing, too.
        let levels = snapshot.alerts.levels.iter().copied().filter(|level| share >= *level || share.is_nan());
        let Some(level) = levels.max_by(f64::total_cmp) else { continue };
        let period = standing.rule.per.number(now);
        let before = seen.insert((standing.holder.clone(), standing.rule.per), (period, level));
        if before.is_none_or(|(of, highest)| of != period || highest < level) {
            reached.push((standing, level));
        }
    }
    reached
}

async fn tell(app: &App, standing: &Standing, level: f64) {
    let Standing { holder, rule, spent, .. } = standing;
    let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| NONE.into());
    let (project, key) = (name(&holder.project), name(&holder.key));
    app.metrics.budgets.alert(standing, level);
    tracing::warn!(tenant = %holder.tenant, %project, %key, per = rule.per.name(), level, "a budget has reached an alert level");
    let webhook = app.snapshot.load().alerts.webhook.clone();
    let Some(webhook) = webhook else { return };
    let told = json!({
        "event": "budget_alert",
        "tenant": &*holder.tenant,
        "project": holder.project.as_deref(),
        "key": holder.key.as_deref(),
        "per": rule.per.name(),
        "level": level,
        "spent_usd": spent.to_string(),
        "limit_usd": rule.limit.to_string(),
    });
    if let Err(why) = webhook.post(&told.to_string()).await {
        tracing::error!("the webhook of `alerts` did not take a budget's alert: {why}");
    }
}
