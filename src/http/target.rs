//! What a request's `model` names: a route, a router string, or a model of the pool.

use std::sync::Arc;

use super::error::Failure;
use crate::{
    routing::{
        decide::DIRECT,
        plan::{LearnedPlan, Plan, RulePlan},
    },
    snapshot::Tenant,
};

/// The name that stands for a tenant's default route.
const AUTO: &str = "auto";

/// Who answers, or who decides who does.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A route of the configuration.
    Route(Arc<Plan>),
    /// A router with a threshold of the request's own.
    Router(Arc<LearnedPlan>, RulePlan),
    /// A model, by its place in the pool.
    Model(usize),
}

impl Target {
    /// The model that is named.
    pub(super) fn model(&self) -> Option<usize> {
        match self {
            Self::Model(place) => Some(*place),
            Self::Route(_) | Self::Router(..) => None,
        }
    }

    /// The plan of the router that decides, where one does.
    pub(super) fn learned(&self) -> Option<&LearnedPlan> {
        match self {
            Self::Route(plan) => match &**plan {
                Plan::Learned(plan) => Some(plan),
                Plan::Static { .. } => None,
            },
            Self::Router(plan, _) => Some(plan),
            Self::Model(_) => None,
        }
    }

    /// The rule by which it does.
    pub(super) fn rule(&self) -> Option<RulePlan> {
        match self {
            Self::Router(_, rule) => Some(*rule),
            Self::Route(_) | Self::Model(_) => self.learned().map(|plan| plan.rule),
        }
    }
}

/// Finds what `model` names, and the label to count it under.
///
/// # Errors
/// When it names nothing that this tenant can see: the same whether it exists for another or not.
pub(super) fn resolve(tenant: &Tenant, model: &str) -> Result<(Target, Arc<str>), Failure> {
    if let Ok(found) = resolve_model(tenant, model) {
        return Ok(found);
    }
    let route = if model == AUTO { &*tenant.default_route } else { model };
    if let Some((name, plan)) = tenant.plans.routes.get_key_value(route) {
        return Ok((Target::Route(Arc::clone(plan)), Arc::clone(name)));
    }
    resolve_router(tenant, model)
}

/// Finds a model of the pool.
///
/// # Errors
/// When this tenant can see no such model.
pub(super) fn resolve_model(tenant: &Tenant, model: &str) -> Result<(Target, Arc<str>), Failure> {
    let place = tenant.plans.models.iter().position(|known| &*known.name == model);
    place
        .map(|place| (Target::Model(place), DIRECT.into()))
        .ok_or_else(|| Failure::UnknownModel(model.to_owned()))
}

/// Reads `router-<name>-<threshold>`, as clients of RouteLLM send it.
fn resolve_router(tenant: &Tenant, model: &str) -> Result<(Target, Arc<str>), Failure> {
    let unknown = || Failure::UnknownModel(model.to_owned());
    let (name, threshold) =
        model.strip_prefix("router-").and_then(|rest| rest.rsplit_once('-')).ok_or_else(unknown)?;
    let plan = tenant.plans.routers.get(name).ok_or_else(unknown)?;
    let alpha: f64 = threshold.parse().map_err(|_| Failure::Threshold(model.to_owned()))?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Failure::Threshold(model.to_owned()));
    }
    let rule = RulePlan::Threshold { alpha, split: 1.0 };
    Ok((Target::Router(Arc::clone(plan), rule), format!("router-{name}").into()))
}
