//! The metrics of tenants: how their budgets stand, and what their limits do.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{NONE, families::Families};
use crate::budget::{Reason, Standing};

const BUDGET: &[&str] = &["tenant", "project", "key", "per"];

/// How budgets stand.
#[derive(Debug)]
pub struct BudgetMetrics {
    /// `pointsman_budget_alerts_total{tenant,project,key,per,level}`: alert levels that budgets have reached.
    alerts: IntCounterVec,
    /// `pointsman_budget_refused_total{tenant,code}`: requests that a budget has refused or ended.
    pub refused: IntCounterVec,
    /// `pointsman_budget_limit_usd{tenant,project,key,per}`: what a budget allows in its period.
    limit_usd: GaugeVec,
    /// `pointsman_budget_spent_usd{tenant,project,key,per}`: what was spent of it in the period that is on.
    spent_usd: GaugeVec,
    /// `pointsman_budget_held_usd{tenant,project,key,per}`: what requests in flight may still cost.
    held_usd: GaugeVec,
}

impl BudgetMetrics {
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            limit_usd: make.levels(
                "budget_limit_usd",
                "What a budget allows in its period, in USD",
                BUDGET,
            )?,
            spent_usd: make.levels("budget_spent_usd", "Spent of a budget in its period, in USD", BUDGET)?,
            alerts: make.counts(
                "budget_alerts_total",
                "Alert levels that budgets have reached",
                &[BUDGET, &["level"]].concat(),
            )?,
            refused: make.counts(
                "budget_refused_total",
                "Requests that a budget has refused or ended",
                &["tenant", "code"],
            )?,
            held_usd: make.levels(
                "budget_held_usd",
                "What requests in flight may still cost, in USD",
                BUDGET,
            )?,
        })
    }

    /// Shows at zero what may come of a budget.
    pub fn seed(&self, of: &Standing, levels: &[f64]) {
        for code in Reason::CODES {
            self.refused.with_label_values(&[&*of.holder.tenant, code]);
        }
        let [tenant, project, key, per] = labels(of);
        for level in levels {
            self.alerts.with_label_values(&[tenant, project, key, per, &*level.to_string()]);
        }
    }

    /// Shows how budgets stand, and none that is no more.
    pub fn show(&self, standings: impl IntoIterator<Item = Standing>) {
        let gauges = [&self.limit_usd, &self.spent_usd, &self.held_usd];
        gauges.iter().for_each(|gauge| gauge.reset());
        for standing in standings {
            let Standing { rule, spent, held, .. } = &standing;
            let labels = labels(&standing);
            for (gauge, amount) in gauges.into_iter().zip([rule.limit, *spent, *held]) {
                gauge.with_label_values(&labels).set(amount.as_f64());
            }
        }
    }

    /// A budget has reached this level of alerts.
    pub fn alert(&self, of: &Standing, level: f64) {
        let [tenant, project, key, per] = labels(of);
        self.alerts.with_label_values(&[tenant, project, key, per, &*level.to_string()]).inc();
    }
}

fn labels(of: &Standing) -> [&str; 4] {
    let Standing { holder, rule, .. } = of;
    let [project, key] = [&holder.project, &holder.key].map(|name| name.as_deref().unwrap_or(NONE));
    [&*holder.tenant, project, key, rule.per.name()]
}

/// What limits of tenants do.
#[derive(Debug)]
pub struct LimitMetrics {
    /// `pointsman_limited_total{tenant,limit}`: requests refused for a limit of their tenant: `requests`, `tokens` or `concurrency`.
    pub refused: IntCounterVec,
    /// `pointsman_tenant_requests_in_flight{tenant}`: of tenants with limits, requests that count against `concurrency`.
    pub in_flight: IntGaugeVec,
}

impl LimitMetrics {
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            refused: make.counts(
                "limited_total",
                "Requests refused for a limit of their tenant",
                &["tenant", "limit"],
            )?,
            in_flight: make.gauges(
                "tenant_requests_in_flight",
                "Requests in flight of tenants with limits",
                &["tenant"],
            )?,
        })
    }
}
