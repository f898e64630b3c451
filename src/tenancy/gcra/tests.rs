use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn rate(per_minute: u64) -> Rate {
    Rate::per_minute(NonZeroU64::new(per_minute).unwrap())
}

/// One after the other as long as there is something; how many.
fn drain(bucket: &Bucket, rate: Rate, now: u64) -> usize {
    (0..).take_while(|_| bucket.take(rate, 1, now).is_ok()).count()
}

#[test]
fn a_minutes_worth_at_once_and_then_the_rate() {
    let (bucket, rate) = (Bucket::default(), rate(6));
    assert_eq!(drain(&bucket, rate, 0), 6);
    assert_eq!(bucket.take(rate, 1, SECOND), Err(Short::For(Duration::from_secs(9))));
    assert_eq!(drain(&bucket, rate, 10 * SECOND - 1), 0);
    assert_eq!(drain(&bucket, rate, 10 * SECOND), 1);
    assert_eq!(drain(&bucket, rate, 35 * SECOND), 2);
    assert_eq!(drain(&bucket, rate, 3600 * SECOND), 6, "no more than a minute's worth is saved up");
}

#[test]
fn what_was_not_used_comes_back() {
    let (bucket, rate) = (Bucket::default(), rate(60));
    let taken = bucket.take(rate, 50, 0).unwrap();
    assert_eq!(bucket.take(rate, 11, 0), Err(Short::For(Duration::from_secs(1))));
    bucket.settle(taken, rate, 20, 0);
    assert_eq!(bucket.level(rate, 0), Level { remaining: 40, full_in: Duration::from_secs(20) });
}

#[test]
fn what_has_come_back_by_itself_does_not_come_back_twice() {
    let (bucket, rate) = (Bucket::default(), rate(60));
    let taken = bucket.take(rate, 60, 0).unwrap();
    let after_a_minute = 60 * SECOND;
    let all = bucket.take(rate, 60, after_a_minute).unwrap();
    bucket.settle(taken, rate, 0, after_a_minute);
    assert_eq!(bucket.level(rate, after_a_minute).remaining, 0);
    bucket.settle(all, rate, 0, after_a_minute + 20 * SECOND);
    assert_eq!(bucket.level(rate, after_a_minute + 20 * SECOND).remaining, 60);
}

/// The second of two ends sooner, once the first has given back what lay before it.
#[test]
fn what_was_moved_does_not_come_back_twice() {
    let (bucket, rate) = (Bucket::default(), rate(60));
    let (first, second) = (bucket.take(rate, 30, 0).unwrap(), bucket.take(rate, 30, 0).unwrap());
    bucket.settle(first, rate, 0, 20 * SECOND);
    assert_eq!(bucket.level(rate, 20 * SECOND).full_in, Duration::from_secs(30));
    assert!(bucket.take(rate, 60, 55 * SECOND).is_ok(), "it has been full for five seconds");
    bucket.settle(second, rate, 0, 56 * SECOND);
    assert_eq!(bucket.level(rate, 56 * SECOND).remaining, 1);
}

#[test]
fn what_was_used_beyond_is_owed() {
    let (bucket, rate) = (Bucket::default(), rate(60));
    let taken = bucket.take(rate, 1, 0).unwrap();
    bucket.settle(taken, rate, 100, 0);
    assert_eq!(bucket.level(rate, 0), Level { remaining: 0, full_in: Duration::from_secs(100) });
    assert_eq!(bucket.take(rate, 1, 0), Err(Short::For(Duration::from_secs(41))));
    assert!(bucket.take(rate, 1, 41 * SECOND).is_ok());
    let taken = bucket.take(rate, 1, 100 * SECOND).unwrap();
    bucket.settle(taken, rate, u64::MAX, 100 * SECOND);
    assert_eq!(bucket.level(rate, 100 * SECOND).full_in, Duration::from_secs(3600), "nonsense has a bound");
}

#[test]
fn what_never_fits_is_told_from_what_does_not_fit_now() {
    let (bucket, rate) = (Bucket::default(), rate(100));
    assert_eq!(bucket.take(rate, 101, 0), Err(Short::Ever));
    let taken = bucket.take(rate, 100, 0).unwrap();
    assert_eq!(bucket.take(rate, 101, 0), Err(Short::Ever));
    assert_eq!(bucket.take(rate, 100, 0), Err(Short::For(Duration::from_secs(60))));
    bucket.settle(taken, rate, 0, 0);
    assert!(bucket.take(rate, 100, 0).is_ok());
}

#[test]
fn another_rate_fills_nothing() {
    let bucket = Bucket::default();
    assert_eq!(drain(&bucket, rate(10), 0), 10);
    assert_eq!(drain(&bucket, rate(1_000_000), 0), 0);
    assert_eq!(bucket.level(rate(20), 30 * SECOND).remaining, 10, "half of it, at the new rate");
}

#[derive(Debug, Clone)]
enum Step {
    Take {
        units: u64,
        per_minute: u64,
    },
    /// One of those that are out, with a share of its units used, in percent.
    Settle {
        which: usize,
        percent: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let wait = prop_oneof![3 => Just(0), 3 => 0..20 * SECOND, 1 => 0..100 * SECOND];
    let take = (prop_oneof![0..120_u64, 40..100_u64], prop_oneof![3 => Just(100_u64), 1 => 1..1000_u64])
        .prop_map(|(units, per_minute)| Step::Take { units, per_minute });
    let percent = prop_oneof![2 => Just(0_u64), 1 => 0..150_u64];
    let settle = (any::<usize>(), percent).prop_map(|(which, percent)| Step::Settle { which, percent });
    vec((wait, prop_oneof![take, settle]), 1..120)
}

proptest! {
    /// Of whatever was let in within a window, no more is used than the window's worth and a burst, the rate changing as it will.
    #[test]
    fn never_more_than_the_rate_and_a_burst(steps in steps()) {
        let bucket = Bucket::default();
        let mut now = 0;
        // When it was let in, and what it costs in the end, as far as foreseen.
        let mut let_in: Vec<(u64, u64)> = Vec::new();
        let mut out: Vec<(usize, Taken, Rate, u64)> = Vec::new();
        let mut used_in_all = 0_u64;
        for (wait, step) in steps {
            now += wait;
            match step {
                Step::Take { units, per_minute } => {
                    let rate = rate(per_minute);
                    if let Ok(taken) = bucket.take(rate, units, now) {
                        let_in.push((now, taken.cost));
                        out.push((let_in.len() - 1, taken, rate, units));
                    }
                }
                Step::Settle { which, percent } if !out.is_empty() => {
                    let (place, taken, rate, units) = out.swap_remove(which % out.len());
                    let used = units * percent / 100;
                    let_in[place].1 = rate.cost(used).min(taken.cost);
                    used_in_all += rate.cost(used);
                    bucket.settle(taken, rate, used, now);
                }
                Step::Settle { .. } => {}
            }
            // What was used beyond what was foreseen is owed, and nothing of it is forgotten.
            let owed = u64::try_from(bucket.level(rate(1), now).full_in.as_nanos()).unwrap();
            prop_assert!(used_in_all <= now + owed);
        }
        for (first, &(from, _)) in let_in.iter().enumerate() {
            let mut sum = 0;
            for &(to, cost) in &let_in[first..] {
                sum += cost;
                prop_assert!(sum <= to - from + CAPACITY, "{sum} within {}", to - from);
            }
        }
    }

    /// What is said to remain can be taken and no more; what is said to be short is there after the time that is said.
    #[test]
    fn what_it_says_is_so(steps in steps(), per_minute in prop_oneof![1..1000_u64, 1..=1_000_000_000_u64], units in 0..1_000_u64) {
        let bucket = Bucket::default();
        let mut now = 0;
        for (wait, step) in steps {
            now += wait;
            if let Step::Take { units, per_minute } = step {
                let _ = bucket.take(rate(per_minute), units, now);
            }
        }
        let rate = rate(per_minute);
        let Level { remaining, full_in } = bucket.level(rate, now);
        prop_assert!(remaining <= per_minute);
        prop_assert_eq!(full_in.is_zero(), bucket.state().full_at <= now);
        let short = bucket.take(rate, remaining + 1, now).unwrap_err();
        prop_assert_eq!(short == Short::Ever, remaining == per_minute);
        let full_at = now + u64::try_from(full_in.as_nanos()).unwrap();
        prop_assert_eq!(bucket.level(rate, full_at).remaining, per_minute);
        if let Err(Short::For(wait)) = bucket.take(rate, units, now) {
            let wait = u64::try_from(wait.as_nanos()).unwrap();
            prop_assert!(bucket.take(rate, units, now + wait - 1).is_err());
            prop_assert!(bucket.take(rate, units, now + wait).is_ok());
        }
    }

    /// Whatever the clock and the numbers.
    #[test]
    fn nothing_panics(
        steps in vec((any::<u64>(), any::<u64>(), 1..=u64::MAX, any::<u64>(), any::<u64>()), 1..20)
    ) {
        let bucket = Bucket::default();
        for (now, units, per_minute, used, settled) in steps {
            let rate = rate(per_minute);
            if let Ok(taken) = bucket.take(rate, units, now) {
                bucket.settle(taken, rate, used, settled);
            }
            let level = bucket.level(rate, now);
            prop_assert!(level.remaining <= per_minute);
        }
    }
}
