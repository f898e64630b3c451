//! Licences of the published data files that the shipped artefacts are trained on.

/// File names and licences (SPDX).
const FILES: &[(&str, &str)] = &[
    ("arena_votes_20240814.json", "BSD-3-Clause"),
    ("battles_openassistant.jsonl", "MIT"),
    ("outcomes_arena_bench.jsonl", "Apache-2.0"),
    ("outcomes_llmrouter.jsonl", "MIT"),
    ("outcomes_mmlu_gold_1500.jsonl", "Apache-2.0"),
    ("outcomes_mmlu_pro.jsonl", "Apache-2.0"),
    ("outcomes_zeroeval.jsonl", "Apache-2.0"),
];

/// The licence of a data file by its name; that of any other file is for its owner to say.
#[must_use]
pub fn licence_of_file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, licence)| *licence)
}
