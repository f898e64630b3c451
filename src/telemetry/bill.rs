//! What the calls of one request have cost: a meter for each, read at the end, however it comes.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use http::HeaderMap;
use uuid::Uuid;

use super::traces::{CallSpan, RequestSpan};
use crate::{
    budget::{Hold, OverBudget, Refused},
    config::{Price, Usd},
    ledger::HeldFor,
    money,
    openai::{characters, usage::Usage},
};

/// The meters of a request's calls, in the order in which they were begun.
#[derive(Debug, Default)]
pub struct Bill {
    meters: Mutex<Vec<Arc<Meter>>>,
    row: OnceLock<Uuid>,
    /// The request's span, and what is asked of models.
    span: OnceLock<(RequestSpan, &'static str)>,
}

impl Bill {
    /// A call of `model` begins, with a prompt of about so many tokens.
    pub fn call(&self, model: &Arc<str>, price: Option<Price>, prompt_tokens: u64) -> Arc<Meter> {
        let meter = Arc::new(Meter {
            model: Arc::clone(model),
            price,
            prompt_tokens,
            answer_tokens_max: OnceLock::new(),
            read: Mutex::default(),
            secured: OnceLock::new(),
            span: Mutex::new(self.span.get().map(|(span, operation)| span.call(operation, model))),
        });
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&meter));
        meter
    }

    /// All the meters so far.
    #[must_use]
    pub fn meters(&self) -> Vec<Arc<Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request's row in the ledger, where it is to have one.
    #[must_use]
    pub fn row(&self) -> Option<Uuid> {
        self.row.get().copied()
    }

    pub(super) fn set_span(&self, span: RequestSpan, operation: &'static str) {
        let _ = self.span.set((span, operation));
    }

    pub(super) fn set_row(&self, row: Uuid) {
        let _ = self.row.set(row);
    }
}

/// What one call of a model uses. Whoever reads the answer writes to it, so that it is right whenever the call ends: by itself,
/// by a fault, beside a faster one, or because the client has left.
#[derive(Debug)]
pub struct Meter {
    /// The model that is called.
    pub model: Arc<str>,
    price: Option<Price>,
    prompt_tokens: u64,
    /// The most that its answers may have, where something bounds them.
    answer_tokens_max: OnceLock<u64>,
    read: Mutex<Read>,
    /// What is held of a budget for it.
    secured: OnceLock<Secured>,
    /// Until it is over.
    span: Mutex<Option<CallSpan>>,
}

/// What is held for a call.
#[derive(Debug)]
struct Secured {
    hold: Arc<Hold>,
    /// Of an answer without a bound.
    covered: Option<Mutex<Covered>>,
    /// Where it is written down what is held.
    written: Option<HeldFor>,
}

/// How much of an answer without a bound is held for.
#[derive(Debug)]
struct Covered {
    tokens: u64,
    growing: Option<Growing>,
}

/// A hold that others are asked for, and the tokens that it is for.
struct Growing {
    tokens: u64,
    asked: Pin<Box<dyn Future<Output = Result<(), OverBudget>> + Send>>,
}

impl fmt::Debug for Growing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Growing").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// Tokens of an answer that nothing bounds, for which money is held at a time.
pub const STEP_TOKENS: u64 = 256;

/// No answer has more characters a token on average.
const CHARACTERS_PER_TOKEN_MAX: u64 = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Read {
    /// The prompt is with the upstream.
    is_sent: bool,
    reported: Option<Usage>,
    /// Once an answer has begun.
    written_characters: Option<u64>,
    sent_at: Option<Instant>,
    /// The code of what went wrong.
    fault: Option<&'static str>,
    /// When the first content of a stream came, and the latest.
    streamed: Option<(Instant, Instant)>,
}

/// What a call has used and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The tokens.
    pub usage: Usage,
    /// The upstream did not report them.
    pub is_estimate: bool,
    /// In 10⁻¹² USD; none where the model has no price.
    pub cost_pico_usd: Option<u128>,
}

impl Used {
    /// What it costs, for metrics and people; exact money is the whole number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for metrics and people")]
    pub fn cost_usd(&self) -> Option<f64> {
        self.cost_pico_usd.map(|cost| cost as f64 / 1e12)
    }
}

impl Meter {
    /// One of a model without a price, on no bill.
    #[must_use]
    pub fn alone(model: &str) -> Arc<Self> {
        Bill::default().call(&model.into(), None, 0)
    }

    /// No estimate of its answers is of more tokens than this, as far as that can be.
    pub fn bound(&self, answer_tokens_max: u64) {
        let _ = self.answer_tokens_max.set(answer_tokens_max);
    }

    /// The prompt goes to the upstream: from now on it may have been read.
    pub fn send(&self) {
        let mut read = self.read();
        (read.is_sent, read.sent_at) = (true, Some(Instant::now()));
    }

    /// It has gone wrong, with this code.
    pub fn fail(&self, code: &'static str) {
        self.read().fault = Some(code);
    }

    /// The headers of a client's request, as they go with this call.
    #[must_use]
    pub fn headers<'a>(&self, client: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.as_ref().map_or(Cow::Borrowed(client), |span| span.headers(client))
    }

    /// When it went there.
    #[must_use]
    pub fn sent_at(&self) -> Option<Instant> {
        self.read().sent_at
    }

    /// Of a stream, how long its first content took from the call, and its last from the first.
    #[must_use]
    pub fn stream_times(&self) -> Option<(Duration, Duration)> {
        let Read { sent_at, streamed, .. } = *self.read();
        let (first, last) = streamed?;
        Some((first.saturating_duration_since(sent_at?), last.saturating_duration_since(first)))
    }

    /// The upstream has answered nothing that anybody pays for: an error, or not at all.
    pub fn spare(&self) {
        self.read().is_sent = false;
    }

    /// The upstream reports usage; the last report counts.
    pub fn report(&self, usage: Usage) {
        self.read().reported = Some(usage);
    }

    /// The answer has begun, and the model has written so many characters of it; counts where no usage is reported.
    pub fn write(&self, characters: u64) {
        self.read().written_characters = Some(characters);
    }

    /// As [`Meter::write`], of a stream.
    pub fn write_on(&self, characters: u64) {
        let now = Instant::now();
        let mut read = self.read();
        read.written_characters = Some(characters);
        read.streamed = Some((read.streamed.map_or(now, |(first, _)| first), now));
    }

    /// The call is paid for out of this; for each of `answers` that nothing bounds, a first step is in it.
    /// Where it is written down, it is anew with every further step.
    pub fn secure(&self, hold: Arc<Hold>, unbounded_answers: Option<u64>, written: Option<HeldFor>) {
        let covered = unbounded_answers.map(|answers| {
            Mutex::new(Covered { tokens: answers.saturating_mul(STEP_TOKENS), growing: None })
        });
        let _ = self.secured.set(Secured { hold, covered, written });
    }

    /// Holds more for an answer that nothing bounds, once half of the last step is written. Waits only if more is written than is held
    /// for.
    ///
    /// # Errors
    /// When a budget does not allow it: the answer must end.
    pub fn poll_cover(&self, context: &mut Context<'_>, characters: u64) -> Poll<Result<(), OverBudget>> {
        let Some(Secured { hold, covered: Some(covered), written }) = self.secured.get() else {
            return Poll::Ready(Ok(()));
        };
        let Some(price) = &self.price else { return Poll::Ready(Ok(())) };
        let mut covered = covered.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = characters::tokens(characters);
        let needed = so_far.saturating_add(STEP_TOKENS / 2);
        while needed > covered.tokens {
            let is_covered = so_far <= covered.tokens;
            let tokens = match &mut covered.growing {
                None => {
                    let tokens = (needed - covered.tokens).div_ceil(STEP_TOKENS).saturating_mul(STEP_TOKENS);
                    let amount = money::answer_at_most(price, tokens);
                    match hold.extend(amount, SystemTime::now()) {
                        Ok(()) => tokens,
                        Err(Refused::Over(over_budget)) => return Poll::Ready(Err(over_budget)),
                        Err(Refused::Short) => {
                            let hold = Arc::clone(hold);
                            let asked = Box::pin(async move { hold.secure(amount).await });
                            covered.growing = Some(Growing { tokens, asked });
                            continue;
                        }
                    }
                }
                Some(growing) => match growing.asked.as_mut().poll(context) {
                    Poll::Pending if is_covered => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(asked) => {
                        let tokens = growing.tokens;
                        covered.growing = None;
                        if let Err(over_budget) = asked {
                            return Poll::Ready(Err(over_budget));
                        }
                        tokens
                    }
                },
            };
            covered.tokens = covered.tokens.saturating_add(tokens);
            // Where there is no place for it, what was written before holds: the answer does not end for that.
            let _ = written.as_ref().map(|written| written.write(hold.amount()));
        }
        Poll::Ready(Ok(()))
    }

    /// The call is over: what it has cost is spent, and what else was held for it is free.
    pub fn close(&self) {
        if let Some(Secured { hold, .. }) = self.secured.get() {
            let cost = self.used().and_then(|used| used.cost_pico_usd);
            hold.settle(Usd::from_pico(cost.unwrap_or(0)));
        }
        if let Some(span) = self.span.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let fault = self.read().fault;
            span.end(fault, self.used(), self.stream_times().map(|(until_first, _)| until_first));
        }
    }

    /// What was used: as reported, or else estimated. Of a call that was given up before its answer began, the prompt.
    #[must_use]
    pub fn used(&self) -> Option<Used> {
        let Read { is_sent, reported, written_characters, .. } = *self.read();
        let (usage, is_estimate) = match (reported, written_characters) {
            (Some(reported), _) => (reported, false),
            (None, Some(written)) => {
                let estimate = Usage::estimated(self.prompt_tokens, written);
                // Not every upstream heeds the bound of a request.
                let least = written / CHARACTERS_PER_TOKEN_MAX;
                let most = self.answer_tokens_max.get().map_or(u64::MAX, |bound| *bound.max(&least));
                (Usage { completion_tokens: estimate.completion_tokens.min(most), ..estimate }, true)
            }
            (None, None) if is_sent => (Usage::estimated(self.prompt_tokens, 0), true),
            (None, None) => return None,
        };
        let cost_pico_usd = self.price.as_ref().map(|price| money::cost(price, usage).pico());
        Some(Used { usage, is_estimate, cost_pico_usd })
    }

    fn read(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenPrice;

    #[test]
    fn a_report_counts_and_an_estimate_where_there_is_none() {
        let bill = Bill::default();
        let price = Price::flat(TokenPrice::from_pico_usd(2_500_000), TokenPrice::from_pico_usd(10_000_000));
        let meter = bill.call(&"m".into(), Some(price), 10);
        assert_eq!(meter.used(), None, "not begun");
        meter.send();
        assert_eq!(meter.used().map(|used| used.usage), Some(Usage::of(10, 0)), "given up");
        meter.spare();
        assert_eq!(meter.used(), None, "not answered");
        meter.write(40);
        let estimate = Used { usage: Usage::of(10, 10), is_estimate: true, cost_pico_usd: Some(125_000_000) };
        assert_eq!(meter.used(), Some(estimate));
        meter.report(Usage::of(1000, 100));
        let reported =
            Used { usage: Usage::of(1000, 100), is_estimate: false, cost_pico_usd: Some(3_500_000_000) };
        assert_eq!(bill.meters()[0].used(), Some(reported));
    }
}
