//! What `benches/instructions` runs under callgrind: one part of the hot path by its name, so often that every input
//! had its turn, in a function of its own that callgrind counts alone. Without a name, every part runs once.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot be prepared has nothing to measure"
)]

mod cases;
mod conversation;
mod pool;
mod prompts;
mod wire;

use std::{hint::black_box, process::ExitCode};

/// A part's name, and what runs it and says how many operations were counted.
type Case = (&'static str, fn() -> usize);

const CASES: [Case; 3] = [
    ("parse_and_rewrite_4k", parse_and_rewrite_4k),
    ("decide_mf_64_tokens", decide_mf_64_tokens),
    ("relay_event", relay_event),
];

fn main() -> ExitCode {
    // Cargo adds flags of its own.
    let names: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|(known, _)| known != name)) {
        eprintln!("no case is called '{unknown}'");
        return ExitCode::from(2);
    }
    for (name, run) in CASES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            println!("{name} {}", run());
        }
    }
    ExitCode::SUCCESS
}

fn parse_and_rewrite_4k() -> usize {
    let body = conversation::body(4096);
    counted(1, &mut || {
        black_box(cases::parse_and_rewrite(&body));
    })
}

fn decide_mf_64_tokens() -> usize {
    let mut decisions = cases::Decisions::prepare(64, 10);
    counted(prompts::VARIANTS, &mut || decisions.decide())
}

fn relay_event() -> usize {
    const EVENTS: usize = 200;
    let relaying = cases::Relaying::prepare(EVENTS);
    counted(1, &mut || {
        black_box(relaying.relay());
    }) * EVENTS
}

/// Runs a part `times` times unseen, which fills what is made on first use, and then as often in [`collected`].
/// Returns `times`.
///
/// On a thread of its own, which has a heap of its own: the holes that the preparation leaves in its heap are others
/// every time, and what an allocation costs depends on them.
fn counted(times: usize, run: &mut (dyn FnMut() + Send)) -> usize {
    std::thread::scope(|threads| {
        threads.spawn(|| {
            (0..times).for_each(|_| run());
            collected(times, run);
        });
    });
    times
}

/// Callgrind counts from the entry of this function to its return.
#[inline(never)]
fn collected(times: usize, run: &mut (dyn FnMut() + Send)) {
    for _ in 0..times {
        run();
    }
    // A call in the last place would become a jump, and the function would have no return.
    black_box(());
}
