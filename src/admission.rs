//! Who is let in when the gateway has as much to do as it may: the tenants in turn, so that a flood of one does not change the
//! order in which another's requests are let in.
//!
//! A place is held until the end of the answer, streams included. Those who wait are bounded in number and in time, and have sent no
//! body yet that is kept anywhere.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// How many may wait, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRules {
    /// Requests of one tenant.
    pub per_tenant: usize,
    /// The longest wait.
    pub timeout: Duration,
}

/// No place, now or in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The places, and who waits for one.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Below zero after the limit was lowered under what is taken.
    free: isize,
    places: usize,
    lines: HashMap<Arc<str>, VecDeque<Waiter>>,
    /// The tenants that have somebody waiting, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiters: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    give: oneshot::Sender<Permit>,
}

/// A place; free for the next when dropped.
#[derive(Debug)]
pub struct Permit {
    of: Option<Arc<Admission>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.of.take() {
            admission.pass_on();
        }
    }
}

/// A place in a tenant's line; given up when dropped.
struct Place<'a> {
    admission: &'a Admission,
    tenant: &'a Arc<str>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if let Some(line) = state.lines.get_mut(self.tenant) {
            line.retain(|waiter| waiter.number != self.number);
        }
        state.forget_if_empty(self.tenant);
    }
}

impl State {
    /// The next in turn, whose tenant goes to the end of the turns.
    fn next(&mut self) -> Option<Waiter> {
        let tenant = self.turns.pop_front()?;
        let waiter = self.lines.get_mut(&tenant).and_then(VecDeque::pop_front);
        self.turns.push_back(Arc::clone(&tenant));
        self.forget_if_empty(&tenant);
        waiter
    }

    fn forget_if_empty(&mut self, tenant: &Arc<str>) {
        if self.lines.get(tenant).is_some_and(VecDeque::is_empty) {
            self.lines.remove(tenant);
            self.turns.retain(|other| other != tenant);
        }
    }
}

impl Admission {
    /// So many places, all free.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        let state = State {
            free: isize::try_from(places).unwrap_or(isize::MAX),
            places,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            waiters: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Another number of places; nobody who has one loses it.
    pub fn resize(self: &Arc<Self>, places: usize) {
        let signed = |places: usize| isize::try_from(places).unwrap_or(isize::MAX);
        let more = {
            let mut state = self.lock();
            let more = signed(places) - signed(state.places);
            state.places = places;
            // What is added goes to those who wait, one place after the other.
            state.free += more.min(0);
            more
        };
        (0..more).for_each(|_| self.pass_on());
    }

    /// A place for a request of this tenant, at once or after a wait. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// When there is none, and as many wait as may, or the wait was too long.
    pub async fn enter(self: &Arc<Self>, tenant: &Arc<str>, rules: QueueRules) -> Result<Permit, Full> {
        let (place, given) = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit { of: Some(Arc::clone(self)) });
            }
            let waiting = state.lines.get(tenant).map_or(0, VecDeque::len);
            if waiting >= rules.per_tenant {
                return Err(Full);
            }
            let (give, given) = oneshot::channel();
            state.waiters += 1;
            let number = state.waiters;
            if waiting == 0 {
                state.turns.push_back(Arc::clone(tenant));
            }
            state.lines.entry(Arc::clone(tenant)).or_default().push_back(Waiter { number, give });
            (Place { admission: self, tenant, number }, given)
        };
        // A place that is given while this is dropped goes on to the next: it is dropped with the channel.
        let permit = timeout(rules.timeout, given).await.ok().and_then(Result::ok);
        drop(place);
        permit.ok_or(Full)
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().lines.values().map(VecDeque::len).sum()
    }

    /// A place has become free: it is the next one's, or anybody's.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let waiter = {
                let mut state = self.lock();
                let waiter = if state.free < 0 { None } else { state.next() };
                if waiter.is_none() {
                    state.free += 1;
                }
                waiter
            };
            let Some(waiter) = waiter else { return };
            match waiter.give.send(Permit { of: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // Left between two looks: the place is still to be given.
                Err(mut unwanted) => unwanted.of = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const RULES: QueueRules = QueueRules { per_tenant: 3, timeout: Duration::from_secs(10) };

    type Entering = Pin<Box<dyn Future<Output = Result<Permit, Full>>>>;

    fn entering(admission: &Arc<Admission>, tenant: &str) -> Entering {
        let (admission, tenant) = (Arc::clone(admission), Arc::from(tenant));
        let mut entering: Entering = Box::pin(async move { admission.enter(&tenant, RULES).await });
        // It takes its place in the line.
        assert!(now(&mut entering).is_none_or(|entered| entered.is_err()), "no place is free");
        entering
    }

    fn now(entering: &mut Entering) -> Option<Result<Permit, Full>> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(entered) => Some(entered),
            Poll::Pending => None,
        }
    }

    async fn taken(admission: &Arc<Admission>) -> Permit {
        admission.enter(&"holder".into(), RULES).await.unwrap()
    }

    #[tokio::test]
    async fn a_flood_of_one_tenant_leaves_another_its_turn() {
        let admission = Admission::new(1);
        let mut holder = taken(&admission).await;
        let mut waiting: Vec<(&str, Entering)> =
            ["flood", "flood", "flood", "quiet"].map(|tenant| (tenant, entering(&admission, tenant))).into();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(holder);
            let (place, permit) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(place, (_, entering))| Some((place, now(entering)?.unwrap())))
                .expect("one is let in");
            order.push(waiting.remove(place).0);
            holder = permit;
        }
        assert_eq!(order, ["flood", "quiet", "flood", "flood"]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_bounded_in_number_and_time() {
        let admission = Admission::new(1);
        let _holder = taken(&admission).await;
        let waiting: Vec<Entering> = (0..3).map(|_| entering(&admission, "a")).collect();
        assert_eq!(admission.enter(&"a".into(), RULES).await.unwrap_err(), Full);
        assert_eq!(admission.waiting(), 3);
        let begun = tokio::time::Instant::now();
        for entering in waiting {
            assert_eq!(entering.await.unwrap_err(), Full);
        }
        assert_eq!(begun.elapsed(), RULES.timeout);
        assert_eq!(admission.waiting(), 0);
    }

    #[tokio::test]
    async fn the_number_of_places_can_change() {
        let admission = Admission::new(2);
        let (first, second) = (taken(&admission).await, taken(&admission).await);
        admission.resize(1);
        drop(first);
        let mut next = entering(&admission, "a");
        assert!(now(&mut next).is_none(), "the only place is taken");
        admission.resize(2);
        let third = now(&mut next).unwrap().unwrap();
        drop((second, third));
        assert_eq!(admission.lock().free, 2);
    }

    /// Everything that can happen, in every order: no place is lost, none is given twice, nobody waits beside a free one.
    #[tokio::test]
    async fn in_every_interleaving_no_place_is_lost() {
        const MOVES: usize = 7;
        for order in 0..MOVES.pow(6) {
            let admission = Admission::new(1);
            let mut held: Vec<Permit> = Vec::new();
            let mut waiting: Vec<Entering> = Vec::new();
            let mut rest = order;
            for _ in 0..6 {
                match rest % MOVES {
                    step @ (0 | 1) => {
                        let tenant = if step == 0 { "a" } else { "b" };
                        let (for_it, tenant) = (Arc::clone(&admission), Arc::from(tenant));
                        let mut entering: Entering =
                            Box::pin(async move { for_it.enter(&tenant, RULES).await });
                        match now(&mut entering) {
                            Some(entered) => held.extend(entered),
                            None => waiting.push(entering),
                        }
                    }
                    2 => drop(held.pop()),
                    // The first one in line leaves, or the last.
                    3 if !waiting.is_empty() => drop(waiting.remove(0)),
                    4 => drop(waiting.pop()),
                    // Whoever was let in learns of it.
                    5 => {
                        let mut still = Vec::new();
                        for mut entering in std::mem::take(&mut waiting) {
                            match now(&mut entering) {
                                Some(entered) => held.extend(entered),
                                None => still.push(entering),
                            }
                        }
                        waiting = still;
                    }
                    _ => {}
                }
                rest /= MOVES;
                assert!(held.len() <= 1, "order {order}: given twice");
                let state = admission.lock();
                assert!(
                    state.free == 0 || state.lines.is_empty(),
                    "order {order}: one waits beside a free place"
                );
                assert_eq!(state.lines.len(), state.turns.len(), "order {order}");
            }
            waiting.retain_mut(|entering| now(entering).map(|entered| held.extend(entered)).is_none());
            drop((held, waiting));
            assert_eq!(admission.lock().free, 1, "order {order}: a place is lost");
        }
    }
}
