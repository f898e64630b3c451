//! A circuit breaker: an upstream that keeps failing is left alone for a while, then tried with one call.
//!
//! Closed, it lets every call pass and counts. It opens after so many failures in a row, or when too large a share of a
//! window's calls failed. Open, it lets none pass. After `open_for` it is half-open: one call at a time passes as a probe; its
//! success closes the breaker, its failure opens it anew. A call that says nothing of the upstream (the client left,
//! the request was at fault) is no verdict: a probe that ends so makes room for the next.

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The share of failures within the window that opens it.
    pub error_rate: f64,
    /// The window over which that share is counted.
    pub window: Duration,
    /// With fewer calls in the window than this the share says nothing.
    pub calls_min: u32,
    /// How long it stays open before it is probed.
    pub open_for: Duration,
    /// A pause that the upstream asks for by `Retry-After` is kept by all requests, not by the one alone that it was told.
    pub shared_pause: bool,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            failures: 5,
            error_rate: 0.5,
            window: Duration::from_secs(30),
            calls_min: 20,
            open_for: Duration::from_secs(10),
            shared_pause: false,
        }
    }
}

/// What a call showed of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does its work.
    Success,
    /// It does not.
    Failure,
    /// Nothing.
    Neither,
}

/// A call that was let pass; it goes back with its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How often the breaker had changed when the call was let pass: what a call from before says is out of date.
    era: u64,
}

/// How a breaker stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// Calls pass.
    Closed,
    /// One call at a time is let pass.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// The state machine. Its owner locks it.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    era: u64,
}

#[derive(Debug)]
enum State {
    Closed { in_a_row: u32, window: Window },
    Open { until: Instant },
    HalfOpen { probing: bool },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { in_a_row: 0, window: Window::default() }, era: 0 }
    }
}

impl Breaker {
    /// Lets a call pass.
    ///
    /// # Errors
    /// When it must not: with the time from which it is worth asking again.
    pub fn admit(&mut self, rules: &BreakerRules, now: Instant) -> Result<Pass, Instant> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(until);
            }
            self.change(State::HalfOpen { probing: false });
        }
        if let State::HalfOpen { probing } = &mut self.state {
            if *probing {
                return Err(now + rules.open_for);
            }
            *probing = true;
        }
        Ok(Pass { era: self.era })
    }

    /// Takes a call back.
    pub fn settle(&mut self, rules: &BreakerRules, now: Instant, pass: Pass, verdict: Verdict) {
        if pass.era != self.era {
            return;
        }
        match &mut self.state {
            State::Closed { in_a_row, window } => {
                let failed = match verdict {
                    Verdict::Neither => return,
                    Verdict::Success => false,
                    Verdict::Failure => true,
                };
                *in_a_row = if failed { *in_a_row + 1 } else { 0 };
                let counted = window.count(rules.window, now, failed);
                let too_many = counted.calls >= rules.calls_min
                    && f64::from(counted.failures) >= rules.error_rate * f64::from(counted.calls);
                if failed && (*in_a_row >= rules.failures || too_many) {
                    self.change(State::Open { until: now + rules.open_for });
                }
            }
            // Its era began with its opening: no call was let pass in it.
            State::Open { .. } => {}
            State::HalfOpen { probing } => match verdict {
                Verdict::Success => self.change(State::Closed { in_a_row: 0, window: Window::default() }),
                Verdict::Failure => self.change(State::Open { until: now + rules.open_for }),
                Verdict::Neither => *probing = false,
            },
        }
    }

    /// How it stands.
    #[must_use]
    pub fn position(&self, now: Instant) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::Open { until } if now < until => Position::Open,
            State::Open { .. } | State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

/// Calls of the last window, in slices that fall out of it one by one.
#[derive(Debug, Default)]
struct Window {
    /// The first slice began then.
    start: Option<Instant>,
    slices: [Counted; SLICES],
    /// Slices since `start`, the one that is being counted in included.
    passed: u64,
}

const SLICES: usize = 10;

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    calls: u32,
    failures: u32,
}

impl Window {
    fn count(&mut self, length: Duration, now: Instant, failed: bool) -> Counted {
        let start = *self.start.get_or_insert(now);
        let slice_nanos = (length.as_nanos() / SLICES as u128).max(1);
        let number = u64::try_from(now.saturating_duration_since(start).as_nanos() / slice_nanos);
        let number = number.unwrap_or(u64::MAX).max(self.passed);
        let stale = (number - self.passed).min(SLICES as u64);
        for back in 0..stale {
            *self.slice(number - back) = Counted::default();
        }
        self.passed = number;
        let slice = self.slice(number);
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
        self.slices.iter().fold(Counted::default(), |all, one| Counted {
            calls: all.calls.saturating_add(one.calls),
            failures: all.failures.saturating_add(one.failures),
        })
    }

    fn slice(&mut self, number: u64) -> &mut Counted {
        let place = usize::try_from(number % SLICES as u64).unwrap_or(0);
        &mut self.slices[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        error_rate: 0.5,
        window: Duration::from_secs(10),
        calls_min: 10,
        open_for: Duration::from_secs(5),
        shared_pause: false,
    };

    /// A breaker with a clock.
    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: Instant::now() }
        }

        fn admit(&mut self) -> Result<Pass, Instant> {
            self.breaker.admit(&RULES, self.now)
        }

        fn settle(&mut self, pass: Pass, verdict: Verdict) {
            self.breaker.settle(&RULES, self.now, pass, verdict);
        }

        fn call(&mut self, verdict: Verdict) {
            let pass = self.admit().unwrap();
            self.settle(pass, verdict);
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        fn position(&self) -> Position {
            self.breaker.position(self.now)
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_closes_it() {
        let mut bench = Bench::new();
        for verdict in
            [Verdict::Failure, Verdict::Failure, Verdict::Success, Verdict::Failure, Verdict::Failure]
        {
            bench.call(verdict);
        }
        assert_eq!(bench.position(), Position::Closed);
        bench.call(Verdict::Failure);
        assert_eq!(bench.position(), Position::Open);
        assert_eq!(bench.admit(), Err(bench.now + RULES.open_for));
        bench.wait(4_999);
        assert!(bench.admit().is_err());
        bench.wait(1);
        assert_eq!(bench.position(), Position::HalfOpen);
        let probe = bench.admit().unwrap();
        assert!(bench.admit().is_err(), "one probe at a time");
        bench.settle(probe, Verdict::Success);
        assert_eq!(bench.position(), Position::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_anew() {
        let mut bench = Bench::new();
        (0..3).for_each(|_| bench.call(Verdict::Failure));
        bench.wait(5_000);
        bench.call(Verdict::Failure);
        assert_eq!(bench.position(), Position::Open);
        bench.wait(4_999);
        assert!(bench.admit().is_err());
    }

    #[test]
    fn requests_at_fault_and_clients_that_leave_say_nothing() {
        let mut bench = Bench::new();
        (0..100).for_each(|_| bench.call(Verdict::Neither));
        assert_eq!(bench.position(), Position::Closed);
        (0..3).for_each(|_| bench.call(Verdict::Failure));
        bench.wait(5_000);
        bench.call(Verdict::Neither);
        assert_eq!(bench.position(), Position::HalfOpen);
        bench.call(Verdict::Success);
        assert_eq!(bench.position(), Position::Closed);
    }

    #[test]
    fn a_share_of_failures_opens_it() {
        let mut bench = Bench::new();
        for call in 0..9 {
            bench.wait(10);
            bench.call(if call % 2 == 0 { Verdict::Failure } else { Verdict::Success });
        }
        assert_eq!(bench.position(), Position::Closed, "too few calls to say");
        bench.call(Verdict::Failure);
        assert_eq!(bench.position(), Position::Open);
    }

    #[test]
    fn what_is_out_of_the_window_is_forgotten() {
        let mut bench = Bench::new();
        for _ in 0..4 {
            bench.call(Verdict::Failure);
            bench.call(Verdict::Success);
        }
        bench.wait(11_000);
        for _ in 0..4 {
            bench.call(Verdict::Success);
            bench.call(Verdict::Failure);
        }
        assert_eq!(bench.position(), Position::Closed, "eight calls in the window");
    }

    #[test]
    fn answers_from_before_it_opened_do_not_close_it() {
        let mut bench = Bench::new();
        let old = bench.admit().unwrap();
        (0..3).for_each(|_| bench.call(Verdict::Failure));
        bench.settle(old, Verdict::Success);
        assert_eq!(bench.position(), Position::Open);
        bench.wait(5_000);
        let _probe = bench.admit().unwrap();
        bench.settle(old, Verdict::Success);
        assert_eq!(bench.position(), Position::HalfOpen);
    }

    /// Everything that can happen, in every order, to a depth that opens, probes and closes it more than once.
    #[test]
    fn in_every_interleaving_at_most_one_probe_is_on_its_way() {
        const RULES: BreakerRules = BreakerRules { failures: 1, ..self::RULES };
        /// What is done: let a call pass, settle the oldest call on its way, or the newest, or wait.
        const MOVES: usize = 8;
        let mut orders = 0_u32;
        for order in 0..MOVES.pow(6) {
            let mut breaker = Breaker::default();
            let mut now = Instant::now();
            let mut on_their_way: Vec<(Pass, bool)> = Vec::new();
            let mut rest = order;
            for _ in 0..6 {
                let step = rest % MOVES;
                rest /= MOVES;
                match step {
                    0 => {
                        let before = breaker.position(now);
                        if let Ok(pass) = breaker.admit(&RULES, now) {
                            assert_ne!(before, Position::Open, "order {order}");
                            let is_probe = breaker.position(now) == Position::HalfOpen;
                            let probes =
                                on_their_way.iter().filter(|(of, probe)| *probe && of.era == pass.era);
                            assert!(!is_probe || probes.count() == 0, "order {order}");
                            on_their_way.push((pass, is_probe));
                        }
                    }
                    1 => now += RULES.open_for,
                    _ => {
                        let verdict = [Verdict::Success, Verdict::Failure, Verdict::Neither][step % 3];
                        let place = if step < 5 { 0 } else { on_their_way.len().saturating_sub(1) };
                        if place < on_their_way.len() {
                            let (pass, is_probe) = on_their_way.remove(place);
                            let (was, current) = (breaker.position(now), pass.era == breaker.era);
                            breaker.settle(&RULES, now, pass, verdict);
                            let is = breaker.position(now);
                            let closes = was != Position::Closed && is == Position::Closed;
                            assert!(!closes || (is_probe && verdict == Verdict::Success), "order {order}");
                            assert!(current || was == is, "order {order}");
                        }
                    }
                }
            }
            orders += 1;
        }
        assert_eq!(orders, 262_144);
    }
}
