//! A second model beside a late first one.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout};

use super::{Pursuit, Tried};
use crate::{http::attempt::Attempt, resilience::health::Admission};

impl Pursuit {
    /// How long an upstream is waited for alone.
    pub(super) fn hedge_after(&self, admission: &Admission) -> Option<Duration> {
        if self.hedges { admission.health().p95(self.call.streams()) } else { None }
    }

    /// A call, and beside it, should it take longer than `delay`, one of the next model: the first to answer counts, and the
    /// other is cancelled. Where one fails the other is waited for, and a second model's refusal is no answer.
    pub(super) async fn hedged(
        &mut self,
        first: impl Future<Output = Tried> + Send,
        first_place: usize,
        delay: Duration,
    ) -> Tried {
        let mut first = Box::pin(first);
        let called = Instant::now();
        if let Ok(tried) = timeout(delay, &mut first).await {
            return tried;
        }
        // A second call costs what a retry does.
        let Some(place) = self.attempts.untried() else { return first.await };
        let Some(model) = self.tenant.upstreams.get(place).map(Arc::clone) else { return first.await };
        if !self.budget.withdraw(Instant::now()) {
            self.attempts.put_back(place);
            return first.await;
        }
        let Ok(passage) = self.admit(place, &model) else { return first.await };
        let secured = {
            let securing = Box::pin(self.secure(place, &model, None));
            match select(&mut first, securing).await {
                Either::Left((tried, _)) => Err(Some(tried)),
                Either::Right((secured, _)) => secured.map_err(|_| None),
            }
        };
        let secured = match secured {
            Ok(secured) => secured,
            Err(tried) => {
                self.attempts.put_back(place);
                return match tried {
                    Some(tried) => tried,
                    None => first.await,
                };
            }
        };
        let second = Box::pin(self.ask((place, Arc::clone(&model), passage), secured, self.first()));
        let tried = match select(first, second).await {
            Either::Left((tried, second)) => self.or_else(tried, [first_place, place], second).await,
            Either::Right((tried, first)) => self.or_else(tried, [first_place, place], first).await,
        };
        let is_first = tried.place == place && matches!(tried.outcome, Attempt::Answered(_));
        let result = if is_first { "first" } else { "late" };
        self.app.metrics.upstreams.hedges.with_label_values(&[&*model.name, result]).inc();
        if is_first && let Some(late) = self.tenant.upstreams.get(first_place) {
            // It would have taken longer still: without it the next percentile would come out too low.
            late.note_late(self.call.streams(), called.elapsed());
        }
        tried
    }

    /// What was tried of the two, unless it failed or is the second's refusal: then the other, which else is free to be asked.
    async fn or_else(
        &mut self,
        tried: Tried,
        [first_place, second_place]: [usize; 2],
        other: impl Future<Output = Tried> + Send,
    ) -> Tried {
        match tried {
            Tried { place, model, passage, outcome: Attempt::Failed(fault), .. } => {
                self.failed(place, &model, &fault, passage);
                other.await
            }
            Tried { place, model, passage, outcome: Attempt::Refused(_), .. } if place == second_place => {
                self.refused(place, &model, passage.admission);
                other.await
            }
            tried => {
                let late = if tried.place == first_place { second_place } else { first_place };
                self.attempts.put_back(late);
                if let Some(late) = self.tenant.upstreams.get(late) {
                    self.count(late, "cancelled");
                }
                tried
            }
        }
    }
}
