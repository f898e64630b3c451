use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> SystemTime {
    // A midnight that is the first of a month: 2026-11-01.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_491_200)
}

fn usd(usd: u128) -> Usd {
    Usd::from_pico(usd * 1_000_000_000_000)
}

fn holder(key: Option<&str>) -> Holder {
    Holder { key: key.map(Arc::from), ..Holder::tenant(&"t".into()) }
}

/// Why a budget does not allow it.
fn over<T>(held: Result<T, Refused>) -> OverBudget {
    match held {
        Err(Refused::Over(over_budget)) => over_budget,
        Err(Refused::Short) => panic!("short"),
        Ok(_) => panic!("held"),
    }
}

fn rule(limit: u128, per: Period) -> BudgetRule {
    BudgetRule { limit: usd(limit), per }
}

#[test]
fn what_is_held_cannot_be_held_again_and_what_is_left_over_can() {
    let budgets = Budgets::default();
    let purse = budgets.purse([(holder(None), rule(10, Period::Day))]).unwrap();
    let first = purse.hold(usd(6), start()).unwrap();
    let refused = over(purse.hold(usd(5), start()));
    assert_eq!((refused.of, refused.per), (Scope::Tenant, Period::Day));
    assert_eq!((refused.reason, refused.retry_after), (Reason::Exceeded, Some(Duration::from_secs(1))));
    first.settle(usd(2));
    first.settle(usd(1));
    let second = purse.hold(usd(8), start()).unwrap();
    assert_eq!(purse.standing(start())[0].held, usd(8));
    drop(second);
    assert_eq!(purse.standing(start())[0].spent, usd(10), "what nobody settled is spent");
    let spent = over(purse.hold(usd(1), start() + DAY / 2));
    assert_eq!(spent.retry_after, Some(DAY / 2), "until midnight");
    assert!(purse.hold(usd(10), start() + DAY).is_ok(), "the next day");
    assert_eq!(over(purse.hold(usd(11), start() + DAY)).retry_after, None, "never");
}

#[test]
fn every_budget_of_a_caller_allows_it_or_none_holds_anything() {
    let budgets = Budgets::default();
    let mine = [(holder(Some("k")), rule(3, Period::Total)), (holder(None), rule(10, Period::Month))];
    let purse = budgets.purse(mine).unwrap();
    assert_eq!(over(purse.hold(usd(4), start())).of, Scope::Key);
    assert!(purse.standing(start()).iter().all(|standing| standing.held == Usd::ZERO));
    // Another key of the tenant's.
    let other = budgets.purse([(holder(None), rule(10, Period::Month))]).unwrap();
    let hold = other.hold(usd(9), start()).unwrap();
    assert_eq!(over(purse.hold(usd(2), start())).of, Scope::Tenant);
    drop(hold);
    assert!(purse.hold(usd(1), start()).is_ok());
}

#[test]
fn a_call_over_midnight_counts_for_the_day_it_began_in_unless_it_is_extended() {
    let budgets = Budgets::default();
    let purse = budgets.purse([(holder(None), rule(10, Period::Day))]).unwrap();
    let before = purse.hold(usd(10), start()).unwrap();
    let stream = {
        let purse = budgets.purse([(holder(Some("s")), rule(10, Period::Day))]).unwrap();
        let hold = purse.hold(usd(4), start()).unwrap();
        hold.extend(usd(1), start() + DAY).unwrap();
        assert_eq!(purse.standing(start() + DAY)[0].held, usd(5), "all of it, in the new day");
        hold.settle(usd(3));
        purse.standing(start() + DAY).remove(0)
    };
    assert_eq!((stream.spent, stream.held), (usd(3), Usd::ZERO));
    let after = purse.hold(usd(10), start() + DAY).unwrap();
    before.settle(usd(10));
    after.settle(usd(7));
    assert_eq!(purse.standing(start() + DAY)[0].spent, usd(7));
}

#[test]
fn a_reload_keeps_what_was_spent() {
    let budgets = Budgets::default();
    let purse = budgets.purse([(holder(None), rule(10, Period::Day))]).unwrap();
    purse.hold(usd(8), start()).unwrap().settle(usd(8));
    let raised = budgets.purse([(holder(None), rule(12, Period::Day))]).unwrap();
    assert_eq!(raised.standing(start())[0].spent, usd(8));
    assert!(!raised.is_low(start()));
    let hold = raised.hold(usd(3), start()).unwrap();
    assert!(raised.is_low(start()), "1 of 12 is left");
    drop(hold);
    let lowered = budgets.purse([(holder(None), rule(5, Period::Day))]).unwrap();
    assert!(lowered.hold(usd(1), start()).is_err());
}

/// What may happen to a call.
#[derive(Debug, Clone)]
enum Move {
    Hold { by: usize, amount: u128 },
    Extend { which: usize, more: u128 },
    Settle { which: usize, share: u128 },
    Abandon { which: usize },
    Later { hours: u64 },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3_usize, 0..40_u128).prop_map(|(by, amount)| Move::Hold { by, amount }),
        2 => (0..8_usize, 0..20_u128).prop_map(|(which, more)| Move::Extend { which, more }),
        3 => (0..8_usize, 0..=100_u128).prop_map(|(which, share)| Move::Settle { which, share }),
        1 => (0..8_usize).prop_map(|which| Move::Abandon { which }),
        1 => (1..30_u64).prop_map(|hours| Move::Later { hours }),
    ];
    proptest::collection::vec(one, 1..120)
}

proptest! {
    /// Whatever happens in whatever order: no budget is ever overrun by calls that cost no more than was held for them, what is
    /// held is the sum of the open holds, and what is spent the sum of the settled ones.
    #[test]
    fn no_order_of_calls_overruns_a_budget(moves in moves()) {
        let budgets = Budgets::default();
        let tenant = (holder(None), rule(100, Period::Total));
        let keys = ["a", "b"].map(|key| (holder(Some(key)), rule(60, Period::Day)));
        let [a, b] = keys;
        let purses = [
            budgets.purse([tenant.clone(), a]).unwrap(),
            budgets.purse([b, tenant.clone()]).unwrap(),
            budgets.purse([tenant]).unwrap(),
        ];
        let mut now = start();
        let mut open: Vec<Hold> = Vec::new();
        let mut spent = Usd::ZERO;
        for one in moves {
            match one {
                Move::Hold { by, amount } => open.extend(purses[by].hold(usd(amount), now)),
                Move::Extend { which, more } => {
                    if let Some(hold) = open.get(which) {
                        let before = hold.amount();
                        let extended = hold.extend(usd(more), now).is_ok();
                        prop_assert_eq!(hold.amount(), if extended { before.plus(usd(more)) } else { before });
                    }
                }
                Move::Settle { which, share } if which < open.len() => {
                    let hold = open.swap_remove(which);
                    let cost = Usd::from_pico(hold.amount().pico() * share / 100);
                    hold.settle(cost);
                    spent = spent.plus(cost);
                }
                Move::Abandon { which } if which < open.len() => {
                    let hold = open.swap_remove(which);
                    spent = spent.plus(hold.amount());
                }
                Move::Later { hours } => now += Duration::from_secs(hours * 3600),
                Move::Settle { .. } | Move::Abandon { .. } => {}
            }
            for purse in &purses {
                for standing in purse.standing(now) {
                    prop_assert!(standing.spent.plus(standing.held) <= standing.rule.limit, "{standing:?}");
                }
            }
            let total = &purses[2].standing(now)[0];
            prop_assert_eq!(total.spent, spent);
            let held = open.iter().fold(Usd::ZERO, |sum, hold| sum.plus(hold.amount()));
            prop_assert_eq!(total.held, held);
        }
    }
}

/// A thousand at once, on several threads, against a budget for a hundred.
#[test]
fn threads_cannot_overrun_a_budget_together() {
    let budgets = Budgets::default();
    let purse = budgets.purse([(holder(None), rule(100, Period::Total))]).unwrap();
    let let_through: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let hold = |_| purse.hold(usd(1), start()).ok();
                    let holds: Vec<Hold> = (0..125).filter_map(hold).collect();
                    holds.iter().for_each(|hold| hold.settle(usd(1)));
                    holds.len()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(let_through, 100);
    assert_eq!(purse.standing(start())[0].spent, usd(100));
}

/// However often it is told how the account stands meanwhile.
#[test]
fn what_is_lent_is_lent_once_until_more_is_granted() {
    let budgets = Budgets::default();
    let purse = budgets.purse([(holder(None), rule(100, Period::Total))]).unwrap();
    let granter = Arc::new(Granter::new(0, &Arc::default(), usd(100)));
    let shares: Weak<dyn Shares> = Arc::downgrade(&granter) as _;
    budgets.share(shares);
    let account = budgets.accounts().remove(0).1;
    let mut spent = Usd::ZERO;
    for round in 0..5 {
        purse.lend(usd(3), start());
        while let Ok(hold) = purse.hold(usd(1), start()) {
            hold.settle(usd(1));
            spent = spent.plus(usd(1));
        }
        let told = if round == 3 { account.anew(0) } else { account.tell(0, true).unwrap() };
        account.hear(told, None);
    }
    assert_eq!(spent, usd(3));
    let told = account.at(0).told();
    account.grant(told, usd(4), Usd::ZERO, true);
    purse.lend(usd(3), start());
    let holds: Vec<Hold> = (0..9).filter_map(|_| purse.hold(usd(1), start()).ok()).collect();
    assert_eq!(holds.len(), 4, "one that was granted, and three more");
}

/// What several processes were granted of one budget, in place of Redis.
#[derive(Debug)]
struct Granter {
    me: usize,
    granted: Arc<Mutex<Granted>>,
    limit: Usd,
    /// The next answer does not arrive.
    is_lost: AtomicBool,
    /// It cannot be asked, and knows that all that it has granted may be spent.
    is_apart: AtomicBool,
}

/// What was granted to each, what of that it has announced, and what those may have spent that are gone.
#[derive(Debug, Clone, Copy, Default)]
struct Granted {
    all: [Usd; 3],
    announced: [Usd; 3],
    by_gone: Usd,
}

impl Granted {
    fn left(&self, limit: Usd) -> Usd {
        self.all.iter().fold(limit, |left, granted| left.less(*granted)).less(self.by_gone)
    }

    fn hear(&mut self, by: usize, told: Told) {
        (self.all[by], self.announced[by]) = (told.granted, told.announced);
    }
}

impl Granter {
    fn new(me: usize, granted: &Arc<Mutex<Granted>>, limit: Usd) -> Self {
        Self { me, granted: Arc::clone(granted), limit, is_lost: false.into(), is_apart: false.into() }
    }
}

impl Shares for Granter {
    fn reach(&self) -> Reach {
        if self.is_apart.load(Ordering::Relaxed) { Reach::All } else { Reach::Announced }
    }

    fn secure(self: Arc<Self>, hold: Arc<Hold>, more: Usd) -> Secured {
        Box::pin(async move {
            if self.is_apart.load(Ordering::Relaxed) {
                return Err(hold.purse().over(Reason::Unknown, None));
            }
            for Lack { account, told, lacks, .. } in hold.lacks(more, SystemTime::now()) {
                let mut granted = self.granted.lock().unwrap();
                granted.hear(self.me, told);
                let left = granted.left(self.limit);
                if lacks > left {
                    return Err(hold.purse().refuse(0, more, SystemTime::now()));
                }
                let given =
                    if lacks > Usd::ZERO { lacks.max(Usd::from_pico(left.pico() / 12)) } else { lacks };
                let all = told.granted.plus(given);
                granted.hear(self.me, Told { granted: all, announced: all, ..told });
                if self.is_lost.swap(false, Ordering::Relaxed) {
                    return Err(hold.purse().over(Reason::Unknown, None));
                }
                account.grant(told, all, Usd::ZERO, true);
            }
            hold.extend(more, SystemTime::now()).map_err(|_| hold.purse().over(Reason::Unknown, None))
        })
    }
}

/// What may happen to a call of one of several processes.
#[derive(Debug, Clone)]
enum SharedMove {
    Hold {
        by: usize,
        amount: u64,
        is_lost: bool,
    },
    Extend {
        which: usize,
        more: u64,
    },
    Settle {
        which: usize,
        share: u128,
    },
    Tell {
        by: usize,
        is_lost: bool,
    },
    Anew,
    /// The granter goes away for it, or is back.
    Apart {
        by: usize,
    },
    /// It is killed, and another begins in its place.
    Kill {
        by: usize,
    },
}

fn shared_moves() -> impl Strategy<Value = Vec<SharedMove>> {
    let one = prop_oneof![
        5 => (0..3_usize, 0..30_u64, proptest::bool::weighted(0.1))
            .prop_map(|(by, amount, is_lost)| SharedMove::Hold { by, amount, is_lost }),
        2 => (0..8_usize, 0..20_u64).prop_map(|(which, more)| SharedMove::Extend { which, more }),
        3 => (0..8_usize, 0..=100_u128).prop_map(|(which, share)| SharedMove::Settle { which, share }),
        3 => (0..3_usize, proptest::bool::weighted(0.1)).prop_map(|(by, is_lost)| SharedMove::Tell { by, is_lost }),
        1 => Just(SharedMove::Anew),
        1 => (0..3_usize).prop_map(|by| SharedMove::Apart { by }),
        1 => (0..3_usize).prop_map(|by| SharedMove::Kill { by }),
    ];
    proptest::collection::vec(one, 1..120)
}

/// One of several processes that spend of one budget.
struct Process {
    granter: Arc<Granter>,
    purse: Arc<Purse>,
    account: Arc<Account>,
}

impl Process {
    fn new(me: usize, granted: &Arc<Mutex<Granted>>, limit: Usd) -> Self {
        let granter = Arc::new(Granter::new(me, granted, limit));
        let budgets = Budgets::default();
        let purse = budgets.purse([(holder(None), BudgetRule { limit, per: Period::Total })]).unwrap();
        let shares: Weak<dyn Shares> = Arc::downgrade(&granter) as _;
        budgets.share(shares);
        Self { granter, purse, account: budgets.accounts().remove(0).1 }
    }

    /// What it has spent and holds.
    fn used(&self) -> Usd {
        let standing = self.purse.standing(SystemTime::now()).remove(0);
        standing.spent.plus(standing.held)
    }

    fn is_apart(&self) -> bool {
        self.granter.is_apart.load(Ordering::Relaxed)
    }

    fn tell(&self, is_lost: bool) {
        if let Some(told) = self.account.tell(0, true) {
            self.granter.granted.lock().unwrap().hear(self.granter.me, told);
            if !is_lost {
                self.account.hear(told, None);
            }
        }
    }

    /// What others count as spent should it be gone.
    fn counted(&self) -> Usd {
        let granted = self.granter.granted.lock().unwrap();
        if self.is_apart() { granted.all[self.granter.me] } else { granted.announced[self.granter.me] }
    }
}

proptest! {
    /// Whatever happens in whatever order, answers that never arrive, a granter that has lost all and processes that are killed among it:
    /// together the processes never hold and spend more than there is, nor any more than it was granted, or than others count as spent
    /// should it be gone; and what all give back is there again.
    #[test]
    fn no_order_of_calls_overruns_a_shared_budget(moves in shared_moves()) {
        let limit = Usd::from_micros(100);
        let granted = Arc::<Mutex<Granted>>::default();
        let mut processes = [0, 1, 2].map(|me| Process::new(me, &granted, limit));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut open: Vec<(usize, Arc<Hold>)> = Vec::new();
        let mut by_gone = Usd::ZERO;
        for one in moves {
            match one {
                SharedMove::Hold { by, amount, is_lost } => {
                    let Process { granter, purse, .. } = &processes[by];
                    granter.is_lost.store(is_lost, Ordering::Relaxed);
                    let hold = runtime.block_on(purse.secure(Usd::from_micros(amount)));
                    granter.is_lost.store(false, Ordering::Relaxed);
                    open.extend(hold.map(|hold| (by, hold)));
                }
                SharedMove::Extend { which, more } => {
                    if let Some((_, hold)) = open.get(which) {
                        let _ = runtime.block_on(hold.secure(Usd::from_micros(more)));
                    }
                }
                SharedMove::Settle { which, share } if which < open.len() => {
                    let (_, hold) = open.swap_remove(which);
                    hold.settle(Usd::from_pico(hold.amount().pico() * share / 100));
                }
                SharedMove::Settle { .. } => {}
                SharedMove::Tell { by, is_lost } => {
                    if !processes[by].is_apart() {
                        processes[by].tell(is_lost);
                    }
                }
                // All that was granted is forgotten; nobody is granted anything before all have told.
                SharedMove::Anew => {
                    for (by, process) in processes.iter().enumerate() {
                        process.granter.is_apart.store(false, Ordering::Relaxed);
                        let told = process.account.anew(0);
                        granted.lock().unwrap().hear(by, told);
                    }
                }
                SharedMove::Apart { by } => {
                    let was_apart = processes[by].granter.is_apart.fetch_xor(true, Ordering::Relaxed);
                    if was_apart {
                        processes[by].tell(false);
                    }
                }
                SharedMove::Kill { by } => {
                    by_gone = by_gone.plus(processes[by].used());
                    let counted = processes[by].counted();
                    let mut granted_now = granted.lock().unwrap();
                    granted_now.by_gone = granted_now.by_gone.plus(counted);
                    granted_now.hear(by, Told { number: 0, granted: Usd::ZERO, announced: Usd::ZERO, spent: Usd::ZERO });
                    drop(granted_now);
                    open.retain(|(whose, _)| *whose != by);
                    processes[by] = Process::new(by, &granted, limit);
                }
            }
            for process in &processes {
                prop_assert!(process.used() <= process.counted(), "{} of {}", process.used(), process.counted());
            }
            let granted = *granted.lock().unwrap();
            prop_assert!(by_gone <= granted.by_gone, "{by_gone} of {}", granted.by_gone);
            // Told anew in whole units, each may be rounded up.
            let most = limit.plus(Usd::from_micros(3));
            let all = granted.all.iter().fold(granted.by_gone, |sum, one| sum.plus(*one));
            prop_assert!(all <= most, "{granted:?}");
        }
        open.drain(..).for_each(|(_, hold)| hold.settle(Usd::ZERO));
        for process in &processes {
            process.granter.is_apart.store(false, Ordering::Relaxed);
            // What was used since it was looked at last is given back the second time.
            (0..2).for_each(|_| process.tell(false));
        }
        let by_gone = granted.lock().unwrap().by_gone;
        let left = processes.iter().map(Process::used).fold(limit, Usd::less).less(by_gone).less(Usd::from_micros(3));
        prop_assert!(runtime.block_on(processes[0].purse.secure(left)).is_ok(), "{left} is free");
    }
}
