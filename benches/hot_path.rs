//! `cargo bench --bench hot_path`: how long the parts of a request's way take on one core. See `README.md`.
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

use divan::Bencher;

fn main() {
    divan::main();
}

/// Tokens of a prompt. The embedder reads 512 of them at most.
const TOKENS: [usize; 4] = [16, 64, 256, 1024];

/// Models of a pool.
const MODELS: [usize; 3] = [2, 10, 50];

/// A sample is a turn through all prompts of a length, so that the median is that of no single prompt.
const SAMPLE_SIZE: u32 = prompts::VARIANTS as u32;

/// From a request's bytes of `messages` to the ranking, for a pool of so many models.
#[divan::bench(consts = MODELS, args = TOKENS, sample_size = SAMPLE_SIZE, sample_count = 300)]
fn decide_mf<const POOL: usize>(bencher: Bencher<'_, '_>, tokens: usize) {
    let mut decisions = cases::Decisions::prepare(tokens, POOL);
    bencher.bench_local(|| decisions.decide());
}

/// The parts of a decision.
mod parts {
    use std::hint::black_box;

    use divan::Bencher;
    use pointsman::routing::{engine::Question, plan::Plan};
    use pointsman_routers::{
        Candidate,
        embed::{EmbedScratch, default_static},
        select::{Offer, Rule, rank},
    };

    use crate::{MODELS, SAMPLE_SIZE, TOKENS, pool, prompts};

    /// Tokenising and embedding alone.
    #[divan::bench(args = TOKENS, sample_size = SAMPLE_SIZE, sample_count = 300)]
    fn embed(bencher: Bencher<'_, '_>, tokens: usize) {
        let embedder = default_static().expect("the table in the binary is sound");
        let prompts = prompts::of_tokens(tokens);
        let mut prompts = prompts.iter().cycle();
        let mut vector = vec![0.0; embedder.dim()];
        let mut scratch = EmbedScratch::default();
        bencher.bench_local(|| {
            let prompt = prompts.next().map_or("", String::as_str);
            embedder.embed_into(black_box(prompt), black_box(&mut vector), &mut scratch);
        });
    }

    /// Tokenising, embedding and the skills of a pool's models, for prompts of 64 tokens.
    #[divan::bench(args = MODELS, sample_size = SAMPLE_SIZE, sample_count = 300)]
    fn score(bencher: Bencher<'_, '_>, models: usize) {
        let tenant = pool::tenant(models);
        let plan = tenant.plans.routes.get("auto").map(|plan| &**plan);
        let Some(Plan::Learned(plan)) = plan else { panic!("the route `auto` has a router") };
        let candidates: Vec<Candidate> = plan.candidates.iter().flatten().cloned().collect();
        let prompts = prompts::of_tokens(64);
        let mut prompts = prompts.iter().cycle();
        bencher.bench_local(|| {
            let prompt = prompts.next().map_or("", String::as_str);
            black_box(plan.engine.score(Question {
                text: black_box(prompt),
                candidates: &candidates,
                read: None,
            }))
        });
    }

    /// From skills and costs to a ranking.
    #[divan::bench(args = MODELS, sample_count = 300)]
    fn rank_by_threshold(bencher: Bencher<'_, '_>, models: usize) {
        let names: Vec<String> = (0..models).map(|number| format!("model-{number}")).collect();
        let offers: Vec<Offer<'_>> = (names.iter().zip(1_u32..))
            .map(|(name, number)| Offer {
                name,
                pool_name: name,
                skill: f64::from(number.wrapping_mul(2_654_435_761) >> 16) / 65_536.0,
                cost_usd: f64::from(number) * 1e-4,
            })
            .collect();
        let rule = Rule::Threshold { alpha: 0.5, split: 1.0 };
        bencher.bench_local(|| rank(black_box(&rule), black_box(&offers), 7));
    }
}

/// Reading a chat request of so many bytes and writing it anew for the upstream.
#[divan::bench(args = [1 << 10, 4 << 10, 64 << 10], sample_count = 300)]
fn parse_and_rewrite(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = conversation::body(bytes);
    bencher
        .counter(divan::counter::BytesCount::new(body.len()))
        .bench_local(|| cases::parse_and_rewrite(&body));
}

/// Relaying a streamed answer of 200 events; `item/s` are events.
#[divan::bench(sample_count = 300)]
fn relay_200_events(bencher: Bencher<'_, '_>) {
    let relaying = cases::Relaying::prepare(200);
    bencher.counter(divan::counter::ItemsCount::new(200_u32)).bench_local(|| relaying.relay());
}

/// What the start of a gateway waits for.
mod start {
    use std::sync::Arc;

    use pointsman_routers::{
        Router,
        artifact::Artifact,
        embed::{StaticEmbedder, default_static},
    };

    /// The shipped artefacts; the library itself reads them once only.
    const ARTIFACTS: &[u8] = include_bytes!("../routers/artifacts/blend-default.safetensors");

    /// The embedder's table: verified, its vocabulary made into a trie.
    #[divan::bench(sample_size = 1, sample_count = 30)]
    fn static_table() -> StaticEmbedder {
        default_static().expect("the table in the binary is sound")
    }

    /// The router: its artefact verified, its weights laid out.
    #[divan::bench(sample_size = 1, sample_count = 30)]
    fn mf_artifact() -> Arc<dyn Router> {
        let mf = Artifact::part_of(ARTIFACTS, "mf").expect("mf is in the binary");
        Artifact::from_bytes(mf, "mf").expect("the artefact in the binary is sound").router()
    }
}
