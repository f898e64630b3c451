//! A decision of each router in the binary: tokenising, embedding and the skills of two models, for prompts of about 64
//! tokens, one after the other.

#![expect(clippy::expect_used, reason = "a benchmark without its subject should stop")]

use divan::Bencher;
use pointsman_routers::embed::{Embedder, default_static};
use pointsman_routers::{Candidate, QueryBatch, shipped};

const POOL: [&str; 2] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"];
const SUBJECTS: [&str; 6] =
    ["a sorted list in Python", "the French Revolution", "an integral", "a poem", "osmosis", "a contract"];

fn main() {
    divan::main();
}

#[divan::bench(args = ["mf", "sw", "knn", "kmeans", "blend"])]
fn decide(bencher: Bencher<'_, '_>, kind: &str) {
    let router = shipped::router(kind).expect("the artefact in the binary is sound");
    let embedder = default_static().expect("the table in the binary is sound");
    let pool: Vec<Candidate> = POOL.iter().filter_map(|name| router.place(name, None)).collect();
    let prompts = SUBJECTS.map(|subject| {
        format!(
            "Explain {subject} to somebody who has never heard of it, step by step, with two examples that are easy to \
             follow, and name three common mistakes that beginners make. Then say in a sentence or two why it matters \
             today, and where one can read more about it without paying for a course or buying a book."
        )
    });
    let mut turns = prompts.iter().cycle();
    bencher.bench_local(|| {
        let text = turns.next().map_or("", String::as_str);
        let embeddings = embedder.embed_batch(&[text]).expect("any text is embedded");
        let queries = QueryBatch { texts: &[text], embeddings: Some(embeddings), ..QueryBatch::default() };
        router.skills(&queries, &pool).expect("the pool is known")
    });
}
