//! The table's promises, over every name of every source.

mod spellings;

use super::*;
use proptest::prelude::*;
use spellings::{OF_ARENA, OF_SOURCES};
use std::collections::{BTreeSet, HashSet};

/// Every spelling at hand: the sources', the Arena's, the table's.
fn all_spellings() -> impl Iterator<Item = &'static str> {
    let of_table = lines().flat_map(|(canonical, spellings)| {
        std::iter::once(canonical).chain(spellings.split("; ").filter(|spelling| !spelling.is_empty()))
    });
    OF_SOURCES.iter().map(|(spelling, _)| *spelling).chain(OF_ARENA.iter().copied()).chain(of_table)
}

/// A swapped-case spelling.
fn other_case(spelling: &str) -> String {
    let swap = |letter: char| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    spelling.chars().map(swap).collect()
}

#[test]
fn every_spelling_of_the_sources_has_its_canonical_name() {
    for (spelling, expected) in OF_SOURCES {
        assert_eq!(lookup(spelling), Some(*expected), "{spelling}");
    }
    for name in OF_ARENA {
        assert_eq!(lookup(name), Some(*name), "the Arena's own name");
    }
}

#[test]
fn canonical_is_idempotent_and_blind_to_case_for_every_spelling() {
    for spelling in all_spellings() {
        let name = canonical(spelling);
        assert_eq!(canonical(name), name, "{spelling}");
        assert_eq!(canonical(&other_case(spelling)), name, "{spelling}");
        assert_eq!(canonical(&format!(" {spelling}\n")), name, "{spelling}");
    }
}

#[test]
fn publishers_and_providers_are_taken_off_known_names_only() {
    for (spelling, expected) in [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-instruct-v0.1"),
        ("together_ai/mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-instruct-v0.1"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct@hyperbolic", "llama-3.1-70b-instruct"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("google/gemma-2-9b-it", "gemma-2-9b-it"),
        ("openai/gpt-4", "gpt-4"),
        ("chat-bison@001", "palm-2"),
        // Somebody's fine-tune under a famous name, a customer's deployment, an unknown provider's or Vertex's version.
        ("somebody/Llama-2-7b-chat-hf", "somebody/Llama-2-7b-chat-hf"),
        ("azure/gpt-4", "azure/gpt-4"),
        ("gpt-4@002", "gpt-4@002"),
        ("meta-llama/Llama-9-1T", "meta-llama/Llama-9-1T"),
        ("Llama-9-1T@hyperbolic", "Llama-9-1T@hyperbolic"),
        ("", ""),
        ("/", "/"),
        ("@", "@"),
        ("/gpt-4", "/gpt-4"),
    ] {
        assert_eq!(canonical(spelling), expected, "{spelling}");
    }
}

#[test]
fn the_table_is_well_formed() {
    let mut spellings = HashSet::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(fields.len() <= 3, "{line}");
        assert!(fields.iter().all(|field| field.trim() == *field), "{line}");
    }
    for (canonical, others) in lines() {
        let others = others.split("; ").filter(|other| !other.is_empty());
        for spelling in std::iter::once(canonical).chain(others) {
            assert!(spellings.insert(spelling.to_lowercase()), "{spelling} is listed twice");
        }
    }
    let arena: HashSet<&str> = OF_ARENA.iter().copied().collect();
    for name in known().filter(|name| !arena.contains(name)) {
        assert_eq!(name, name.to_lowercase(), "a name of our own is in lower case");
    }
}

/// Words and numbers that tell models apart: every number (sizes, versions, dates), and whether it is tuned for
/// chat, experimental, and so on.
fn marks(spelling: &str) -> BTreeSet<String> {
    const KINDS: &[&str] = &[
        "chat", "instruct", "it", "base", "exp", "preview", "online", "june", "latest", "turbo", "mini",
        "coder", "vision", "alpha", "beta", "dev", "dpo", "orpo", "api", "next", "medium", "small", "large",
        "advanced",
    ];
    let lower = spelling.to_lowercase().replace('_', ".");
    let name = lower.rsplit('/').next().unwrap_or_default().split('@').next().unwrap_or_default();
    let words = name.split('-').map(|word| if word == "inst" { "instruct" } else { word });
    words
        .filter(|word| KINDS.contains(word) || word.contains(|letter: char| letter.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// The joins of spellings whose numbers or kinds differ. A new one is a decision: its reason stands in the table.
const JOINED_THOUGH_MARKS_DIFFER: &[&str] = &[
    "AI21-Jamba-1.5-Large",
    "Athene-70B",
    "claude-v1",
    "claude-2",
    "claude-instant-v1",
    "c4ai-command-r-v01",
    "c4ai-command-r-plus",
    "DeepSeek-Coder-V2-Instruct",
    "DeepSeek-Coder-V2-Instruct-0724",
    "deepseek-v2-chat-0628",
    "fastchat-t5-3b-v1.0",
    "30b-guanaco",
    "guanaco-30b",
    "llama-3.1-405b-inst-fp8",
    "Llama-3.1-405B-Inst-fp8",
    "Llama-3.1-405B-Instruct-FP8",
    "Meta-Llama-3.1-405B-Instruct-FP8",
    "Mistral-7B-Instruct-v0.1",
    "mistralai/Mistral-7B-Instruct-v0.1",
    "Mistral-Large-2",
    "Mistral-Large-Instruct-2407",
    "Mathstral-7B-v0.1",
    "oasst-sft-4-pythia-12b-epoch-3.5",
    "openchat_3.5",
    "palm-2-chat-bison-001",
    "chat-bison-001",
    "chat-bison@001",
    "reka-flash-20240226",
    "vicuna-33b-v1.3",
    "WizardLM-70B-V1.0",
    "claude-3-5-sonnet@20240620",
    "claude-3-haiku@20240307",
    "claude-3-opus@20240229",
    "claude-3-sonnet@20240229",
];

#[test]
fn no_spelling_joins_another_size_version_date_or_kind_unlisted() {
    for spelling in all_spellings().filter(|spelling| !JOINED_THOUGH_MARKS_DIFFER.contains(spelling)) {
        assert_eq!(
            marks(spelling),
            marks(canonical(spelling)),
            "{spelling} is joined with {}",
            canonical(spelling)
        );
    }
}

/// Families of which no two may be joined.
const LOOK_ALIKES: &[&[&str]] = &[
    &[
        "gpt-4",
        "gpt-4-0314",
        "gpt-4-0613",
        "gpt-4-1106-preview",
        "gpt-4-0125-preview",
        "gpt-4-turbo-2024-04-09",
    ],
    &[
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-0125",
        "gpt-3.5-turbo-0314",
        "gpt-3.5-turbo-0613",
        "gpt-3.5-turbo-1106",
    ],
    &[
        "gemini-1.5-pro",
        "gemini-1.5-pro-002",
        "gemini-1.5-pro-exp-0801",
        "gemini-1.5-pro-exp-0827",
        "gemini-1.5-pro-api-0514",
    ],
    &["gemini-1.5-flash", "gemini-1.5-flash-002", "gemini-1.5-flash-exp-0827", "gemini-1.5-flash-api-0514"],
    &[
        "phi-3-mini-4k-instruct",
        "phi-3-mini-4k-instruct-june-2024",
        "phi-3-mini-128k-instruct",
        "Phi-3.5-mini-instruct",
    ],
    &["chatgpt-4o-latest", "chatgpt-4o-latest-24-09-07"],
    &["Llama-2-13b-hf", "Llama-2-13b-chat-hf", "Llama-2-7b-hf", "llama-13b"],
    &["Meta-Llama-3_1-70B", "Meta-Llama-3_1-70B-Instruct", "Meta-Llama-3-70B", "Meta-Llama-3-70B-Instruct"],
    &[
        "Mistral-7B-v0.1",
        "Mistral-7B-v0.2-hf",
        "Mistral-7B-Instruct-v0.1",
        "Mistral-7B-Instruct-v0.2",
        "mistral-7b-instruct-v0.3",
    ],
    &["Mixtral-8x7B-v0.1", "Mixtral-8x7B-Instruct-v0.1", "mixtral-8x22b-instruct-v0.1"],
    &["Qwen1.5-110B", "qwen1.5-110b-chat"],
    &["Yi-34B", "yi-34b-chat", "Yi-1.5-34B-Chat"],
    &["Yi-6B", "Yi-6b-Chat"],
    &["gemma-7b", "gemma-7b-it", "gemma-1.1-7b-it"],
    &["command-r", "command-r-plus", "command-r-08-2024", "c4ai-command-r-08-2024"],
    &[
        "deepseek-coder-v2",
        "deepseek-coder-v2-0724",
        "DeepSeek-Coder-V2-Lite-Instruct",
        "DeepSeek-Coder-V2-Base",
    ],
    &["reka-flash-20240226", "reka-flash-21b-20240226-online", "reka-flash-20240722"],
    &["vicuna-13b", "vicuna-13b-v1.5", "vicuna-13b-v1.1", "vicuna-7b"],
    &["mistral-large-2402", "Mistral-Large-2", "mistral-large-latest", "mistral-large"],
    &["claude-1", "claude-2", "claude-2.1", "claude-instant-1", "claude-instant-1.2"],
    &["openchat_3.5", "openchat-3.5-0106"],
];

#[test]
fn names_that_look_alike_stay_apart() {
    for family in LOOK_ALIKES {
        let names: HashSet<&str> = family.iter().map(|spelling| canonical(spelling)).collect();
        assert_eq!(names.len(), family.len(), "{family:?} became {names:?}");
    }
}

proptest! {
    #[test]
    fn unknown_names_are_kept_and_canonical_is_idempotent(name in ".{0,40}") {
        let once = canonical(&name);
        prop_assert_eq!(canonical(once), once);
        if lookup(&name).is_none() {
            prop_assert_eq!(once, name.trim());
        }
    }

    #[test]
    fn taking_off_never_panics(name in "[/@a-z4-]{0,12}") {
        let once = canonical(&name);
        prop_assert_eq!(canonical(once), once);
    }
}
