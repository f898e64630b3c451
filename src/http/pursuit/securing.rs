//! What a call may cost, held of the caller's budgets before it is made.

use std::{sync::Arc, time::SystemTime};

use super::Pursuit;
use crate::{
    budget::Hold,
    config::Usd,
    http::error::AttemptFault,
    ledger::{
        HeldFor,
        row::{HoldRow, milliseconds, whole},
    },
    money,
    openai::{chunk::Dialect, endpoint::Endpoint},
    snapshot::Caller,
    stream::transcript::Transcript,
    telemetry::bill::STEP_TOKENS,
    upstream::model::Model,
};

/// Money held for a call.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) hold: Arc<Hold>,
    /// How many answers it brings that nothing bounds: more is held as they are written.
    pub(super) unbounded_answers: Option<u64>,
    /// Where it is written down.
    pub(super) written: Option<HeldFor>,
}

/// Tokens for which money is held where an answer has no bound and comes in one piece: nothing can be held as it is written.
const UNSTREAMED_TOKENS: u64 = 4096;

impl Pursuit {
    /// Holds what a call of the model at `place` may cost; nothing, where there is no budget.
    pub(super) async fn secure(
        &self,
        place: usize,
        model: &Model,
        transcript: Option<&Transcript>,
    ) -> Result<Option<Secured>, AttemptFault> {
        let call = &self.call;
        // What has no price is not asked where there is a budget.
        let (Some(purse), Some(price)) = (&call.caller.purse, &model.price) else { return Ok(None) };
        let known = self.tenant.plans.models.get(place);
        let bounds = call.request.bounds();
        let given = transcript.and_then(Transcript::given).map_or(0, |given| given.len() as u64);
        let context = known.and_then(|model| model.context_tokens()).map(u64::from);
        let prompt = match (context, call.endpoint) {
            // What came before is with the upstream, and not in the request.
            (Some(context), Endpoint::Responses) => context,
            (context, _) => bounds.prompt.saturating_add(given).min(context.unwrap_or(u64::MAX)),
        };
        let (tokens, unbounded_answers) = match self.answer_bound(place) {
            Some(bound) => (bound, None),
            None if call.streams() => (STEP_TOKENS, Some(bounds.answers)),
            None => (UNSTREAMED_TOKENS, None),
        };
        let answers = money::answer_at_most(price, tokens.saturating_mul(bounds.answers));
        let amount = money::prompt_at_most(price, prompt).plus(answers);
        let now = SystemTime::now();
        let hold = purse.secure(amount).await.map_err(AttemptFault::OverBudget)?;
        let written = self.written_down(model, now);
        if written.as_ref().is_some_and(|written| written.write(amount).is_err()) {
            hold.settle(Usd::ZERO);
            return Err(AttemptFault::Unavailable { retry_after: None });
        }
        Ok(Some(Secured { hold, unbounded_answers, written }))
    }

    /// The most tokens that each answer of the model at `place` may have, where something bounds it.
    pub(super) fn answer_bound(&self, place: usize) -> Option<u64> {
        let call = &self.call;
        let longest = self.tenant.plans.models.get(place).and_then(|model| model.max_output_tokens);
        match call.endpoint.dialect() {
            Dialect::Embeddings => Some(0),
            _ => call.request.answer_bound(call.endpoint).into_iter().chain(longest.map(u64::from)).min(),
        }
    }

    /// For whoever comes after this process, should it be killed.
    fn written_down(&self, model: &Model, now: SystemTime) -> Option<HeldFor> {
        let (ledger, request) = (self.app.books.ledger()?, self.bill.row()?);
        let Caller { project, key, .. } = &*self.call.caller;
        let row = HoldRow {
            request,
            position: whole(self.bill.meters().len()),
            at_ms: milliseconds(now),
            tenant: self.tenant.name.to_string(),
            project: project.as_deref().map(str::to_owned),
            key: key.as_deref().map(str::to_owned),
            model: model.name.to_string(),
            pico_usd: 0,
        };
        Some(HeldFor::new(Arc::clone(ledger), row))
    }
}
