//! `/admin/budgets`: how budgets stand.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use http::Response;
use serde::Serialize;

use super::wanted_tenant;
use crate::{
    budget::{Holder, Standing},
    http::{
        app::App,
        error::Failure,
        respond::{ResponseBody, json},
    },
};

/// A budget as operators see it; amounts are texts, since they are exact.
#[derive(Serialize)]
struct Shown<'a> {
    tenant: &'a str,
    project: Option<&'a str>,
    key: Option<&'a str>,
    per: &'static str,
    limit_usd: String,
    spent_usd: String,
    held_usd: String,
}

impl<'a> From<&'a Standing> for Shown<'a> {
    fn from(standing: &'a Standing) -> Self {
        let Standing { holder: Holder { tenant, project, key }, rule, spent, held } = standing;
        Self {
            tenant,
            project: project.as_deref(),
            key: key.as_deref(),
            per: rule.per.name(),
            limit_usd: rule.limit.to_string(),
            spent_usd: spent.to_string(),
            held_usd: held.to_string(),
        }
    }
}

/// Every budget, or those of one tenant, each once.
pub(super) fn answer(app: &Arc<App>, query: Option<&str>) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Budgets<'a> {
        budgets: Vec<Shown<'a>>,
    }
    let tenant = wanted_tenant(query)?;
    let (snapshot, now) = (app.snapshot.load(), SystemTime::now());
    let wanted = |name: &str| tenant.as_ref().is_none_or(|tenant| **tenant == *name);
    let callers = snapshot.callers().filter(|caller| wanted(&caller.tenant.name));
    let standings = callers.filter_map(|caller| caller.purse.as_ref()).flat_map(|purse| purse.standing(now));
    // Callers share the budgets of their tenant and project.
    let once: BTreeMap<_, Standing> =
        standings.map(|standing| ((standing.holder.clone(), standing.rule.per), standing)).collect();
    Ok(json(&Budgets { budgets: once.values().map(Shown::from).collect() }))
}
