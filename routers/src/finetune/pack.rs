//! Prompts with their candidates, packed into rows: a prompt once, then every candidate as if it alone followed.

use candle_core::{Device, Result, Tensor};

/// What a forbidden place adds to an attention score: its power is zero, and no sum of scores overflows.
const FORBIDDEN: f32 = -1e9;

/// A prompt, and the candidates whose labels are asked for.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Tokens that all candidates share.
    pub(super) prefix: Vec<u32>,
    /// At least one.
    pub(super) candidates: Vec<Candidate>,
}

/// A candidate.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// At least one: the label follows the last of them.
    pub(super) tokens: Vec<u32>,
    /// The token of the right label.
    pub(super) target: u32,
}

/// What goes through the network at once.
pub(super) struct Pack {
    /// Rows × length, padded at the end.
    pub(super) tokens: Tensor,
    /// Rows × 1 × length × half a head's width.
    pub(super) cosines: Tensor,
    pub(super) sines: Tensor,
    /// Rows × 1 × 1 × length × length: 0 where the second place is read at the first.
    pub(super) mask: Tensor,
    /// Places of the candidates' last tokens, rows joined, in the questions' order.
    pub(super) ends: Tensor,
    /// Candidates × 1: the tokens of the right labels.
    pub(super) targets: Tensor,
}

impl Question {
    /// Tokens in all.
    pub(super) fn len(&self) -> usize {
        self.prefix.len() + self.candidates.iter().map(|candidate| candidate.tokens.len()).sum::<usize>()
    }

    /// Each token with its position, and the candidate (from 1) that it belongs to, 0 for the prompt's.
    fn places(&self) -> impl Iterator<Item = (u32, usize, usize)> {
        let prefix = self.prefix.iter().enumerate().map(|(position, token)| (*token, position, 0));
        let start = self.prefix.len();
        let candidates = (1..).zip(&self.candidates).flat_map(move |(number, candidate)| {
            let tokens = candidate.tokens.iter().enumerate();
            tokens.map(move |(place, token)| (*token, start + place, number))
        });
        prefix.chain(candidates)
    }
}

impl Pack {
    /// Packs questions; `frequencies` says how far a position turns each pair of a head's values.
    pub(super) fn of(questions: &[Question], frequencies: &[f64], device: &Device) -> Result<Self> {
        let length = questions.iter().map(Question::len).max().unwrap_or(0);
        let (rows, half) = (questions.len(), frequencies.len());
        let (mut tokens, mut angles) = (Vec::with_capacity(rows * length), Vec::new());
        let mut mask = Vec::with_capacity(rows * length * length);
        let (mut ends, mut targets) = (Vec::new(), Vec::new());
        for (row, question) in questions.iter().enumerate() {
            // Padding is a prompt's continuation that nobody reads.
            let padding = (question.len()..length).map(|place| (0, place, 0));
            let places: Vec<(u32, usize, usize)> = question.places().chain(padding).collect();
            for (place, (token, position, owner)) in places.iter().enumerate() {
                tokens.push(*token);
                angles.extend(frequencies.iter().map(|frequency| *position as f64 * frequency));
                mask.extend(places.iter().enumerate().map(|(other, (_, _, other_owner))| {
                    let is_read = other <= place && (*other_owner == 0 || other_owner == owner);
                    if is_read { 0.0 } else { FORBIDDEN }
                }));
            }
            let mut end = row * length + question.prefix.len();
            for candidate in &question.candidates {
                end += candidate.tokens.len();
                ends.push(end.saturating_sub(1) as u32);
                targets.push(candidate.target);
            }
        }
        let turned = |of: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|angle| of(*angle) as f32).collect();
            Tensor::from_vec(values, (rows, 1, length, half), device)
        };
        let count = targets.len();
        Ok(Self {
            tokens: Tensor::from_vec(tokens, (rows, length), device)?,
            cosines: turned(f64::cos)?,
            sines: turned(f64::sin)?,
            mask: Tensor::from_vec(mask, (rows, 1, 1, length, length), device)?,
            ends: Tensor::from_vec(ends, count, device)?,
            targets: Tensor::from_vec(targets, (count, 1), device)?,
        })
    }
}

/// Questions in the order of their lengths, so that rows that go together need little padding.
pub(super) fn by_length(mut questions: Vec<Question>) -> Vec<Question> {
    questions.sort_by_key(Question::len);
    questions
}
