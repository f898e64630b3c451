//! Splitting by first turn, and the size of what there are millions of.

use super::*;
use crate::split::prompt_hash;

#[test]
fn a_conversation_is_split_by_its_first_turn() {
    let prompt = |turns: &[&str]| Prompt {
        source: 0,
        category: None,
        language: None,
        turns: turns.iter().map(|&turn| turn.to_owned()).collect(),
    };
    assert_eq!(prompt(&["How do I  build", "Thank you"]).hash(), prompt_hash("how do i build"));
    assert_ne!(prompt(&["a", "b"]).hash(), prompt(&["b", "a"]).hash());
}

#[test]
fn a_battle_is_lean() {
    assert!(size_of::<Battle>() <= 28, "two million of them shall fit into 60 MB");
}
