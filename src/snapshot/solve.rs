//! Thresholds from shares and budgets, solved for a pool at its prices on the artefact's calibration sample.

use std::sync::{Arc, Mutex, PoisonError};

use faer::Mat;
use pointsman_routers::{
    Candidate,
    calibration::{CalibrationError, Sample, Solved, budget_usd_per_1k, strong_share},
    select::win_rate_of_dearest,
};

use crate::{
    config::Selection,
    routing::{
        drift::Bins,
        engine::Engine,
        plan::{Costs, LearnedPlan, RulePlan},
    },
};

/// What was solved so far: tenants with the same pool share it.
#[derive(Debug, Default)]
pub(super) struct Solutions(Mutex<Vec<(Question, Solution)>>);

/// All that a solution depends on.
#[derive(Debug)]
struct Question {
    engine: Engine,
    candidates: Vec<Option<Candidate>>,
    costs: Costs,
    selection: Selection,
}

/// What a calibration sample says of a pool.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// The threshold, where one is to be solved; or why there is none.
    pub(super) threshold: Result<RulePlan, String>,
    /// Its win rates, where it has enough.
    pub(super) win_rates: Option<Arc<Bins>>,
}

impl Question {
    fn is_of(&self, plan: &LearnedPlan, selection: Selection) -> bool {
        self.engine.is_same(&plan.engine)
            && self.selection == selection
            && self.candidates == plan.candidates
            && self.costs == plan.costs
    }
}

impl Solutions {
    /// The solution for a pool.
    pub(super) fn of(&self, plan: &LearnedPlan, selection: Selection) -> Solution {
        let mut solved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, solution)) = solved.iter().find(|(question, _)| question.is_of(plan, selection)) {
            return solution.clone();
        }
        let solution = solve(plan, selection);
        let (engine, candidates, costs) = (plan.engine.clone(), plan.candidates.clone(), plan.costs.clone());
        solved.push((Question { engine, candidates, costs, selection }, solution.clone()));
        solution
    }
}

fn solve(plan: &LearnedPlan, selection: Selection) -> Solution {
    let calibrated = match Calibrated::of(plan) {
        Ok(calibrated) => calibrated,
        Err(why) => return Solution { threshold: Err(why), win_rates: None },
    };
    let threshold = match selection {
        Selection::StrongShare(share) => calibrated.share(share.get()),
        Selection::BudgetUsdPer1k(usd) => calibrated.budget(usd),
        Selection::Threshold(_) | Selection::Utility(_) => Err("it is written".to_owned()),
    };
    Solution { threshold, win_rates: Bins::of(calibrated.win_rates()).map(Arc::new) }
}

/// A router's calibration sample for a pool: its skills, and what each model is expected to cost.
struct Calibrated {
    skills: Mat<f64>,
    costs_usd: Mat<f64>,
    is_priced: bool,
}

impl Calibrated {
    /// For the models of a plan that its router knows.
    ///
    /// # Errors
    /// When the router has no sample, or knows none of them.
    fn of(plan: &LearnedPlan) -> Result<Self, String> {
        let router = plan.engine.router();
        let (places, candidates): (Vec<usize>, Vec<Candidate>) = plan
            .candidates
            .iter()
            .enumerate()
            .filter_map(|(place, candidate)| Some((place, candidate.clone()?)))
            .unzip();
        if candidates.is_empty() {
            return Err(format!("router {} knows no model of the pool", router.name()));
        }
        let sample = router.calibration(&candidates).map_err(|error| error.to_string())?;
        let tokens = |prompt: usize| sample.prompt_tokens.get(prompt).copied().map_or(0.0, f64::from);
        let costs_usd = Mat::from_fn(sample.skills.nrows(), places.len(), |prompt, column| {
            places.get(column).map_or(0.0, |&place| plan.costs.expected(place, tokens(prompt)))
        });
        let is_priced = matches!(plan.costs, Costs::Priced(_));
        Ok(Self { skills: sample.skills, costs_usd, is_priced })
    }

    /// The threshold that sends `share` of the sample to the pool's dearest model.
    ///
    /// # Errors
    /// When the sample is empty.
    fn share(&self, share: f64) -> Result<RulePlan, String> {
        self.solved(|sample| strong_share(sample, share))
    }

    /// The threshold at which a thousand requests of the sample cost `usd`.
    ///
    /// # Errors
    /// As for [`Calibrated::share`]; when no model has a price; when even the cheapest choice costs more.
    fn budget(&self, usd: f64) -> Result<RulePlan, String> {
        if !self.is_priced {
            return Err("budget_usd_per_1k needs prices, and no model of the pool has one".to_owned());
        }
        self.solved(|sample| budget_usd_per_1k(sample, usd))
    }

    fn solved(
        &self,
        solve: impl Fn(&Sample<'_>) -> Result<Solved, CalibrationError>,
    ) -> Result<RulePlan, String> {
        let sample = Sample { skills: &self.skills, costs_usd: &self.costs_usd };
        let Solved { alpha, split } = solve(&sample).map_err(|error| error.to_string())?;
        Ok(RulePlan::Threshold { alpha, split })
    }

    /// The probability, on each prompt of the sample, that the dearest model beats every cheaper one, where there are cheaper ones.
    fn win_rates(&self) -> Vec<f64> {
        let of = |prompt: usize| {
            let both = |column: usize| (self.skills[(prompt, column)], self.costs_usd[(prompt, column)]);
            win_rate_of_dearest((0..self.skills.ncols()).map(both))
        };
        (0..self.skills.nrows()).filter_map(of).collect()
    }
}
