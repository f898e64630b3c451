//! The metrics of tenants: how their budgets stand, and what their limits do.

use std::sync::Arc;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{NONE, families::Families};
use crate::budget::Standing;

const BUDGET: &[&str] = &["tenant", "project", "key", "per"];

/// How budgets stand.
#[derive(Debug)]
pub struct BudgetMetrics {
    /// `pointsman_budget_alerts_total{tenant,project,key,per,level}`: alert levels that budgets have reached.
    pub alerts: IntCounterVec,
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
            held_usd: make.levels(
                "budget_held_usd",
                "What requests in flight may still cost, in USD",
                BUDGET,
            )?,
        })
    }

    /// Shows how budgets stand, and none that is no more.
    pub fn show(&self, standings: impl IntoIterator<Item = Standing>) {
        let gauges = [&self.limit_usd, &self.spent_usd, &self.held_usd];
        gauges.iter().for_each(|gauge| gauge.reset());
        for Standing { holder, rule, spent, held } in standings {
            let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| NONE.into());
            let (project, key) = (name(&holder.project), name(&holder.key));
            let labels = [&*holder.tenant, &*project, &*key, rule.per.name()];
            for (gauge, amount) in gauges.into_iter().zip([rule.limit, spent, held]) {
                gauge.with_label_values(&labels).set(amount.as_f64());
            }
        }
    }
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
