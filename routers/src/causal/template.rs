//! The prompt: an instruction that all requests share, the request, and a candidate, which ends where the label stands.
//!
//! The three parts are tokenised separately and their tokens joined. So the instruction is computed once for good and the
//! request once for all candidates, and what a candidate's tokens are depends on its name alone. A server that tokenises
//! whole texts may part them otherwise: send it tokens, not text.

use tokenizers::Tokenizer;

use super::labels::LABELS;

const INSTRUCTION: &str = "Below is a user's request and the name of a language model. Rate the answer that this model \
                           gives, from 1 (wrong or useless) to 5 (right and complete).\n\nRequest:\n";

/// What stands where the middle of a long request was.
pub(super) const GAP: &str = "\n[...]\n";

/// A way to ask for a candidate's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    version: &'static str,
    instruction: &'static str,
}

/// The tokens that all candidates of a request share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTokens {
    /// The instruction's, the same for every request; what the tokenizer puts before any text comes first.
    pub instruction: Vec<u32>,
    /// The request's.
    pub question: Vec<u32>,
}

/// Why a text has no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The tokenizer failed on a text.
    #[error("tokenizing failed: {0}")]
    Tokenize(String),
    /// The tokenizer cannot be set up.
    #[error("the tokenizer cannot be used: {0}")]
    Tokenizer(String),
}

impl Template {
    /// The template in use.
    pub const CURRENT: Self = Self { version: "1", instruction: INSTRUCTION };

    /// The template of a version, as artefacts and trained models name it.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        [Self::CURRENT].into_iter().find(|template| template.version == version)
    }

    /// Changes whenever any token does: a model is used with the template that it was trained with.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// The text before every request.
    #[must_use]
    pub const fn instruction(&self) -> &'static str {
        self.instruction
    }

    /// The text of a request: without the white space around it, which would only use up tokens.
    #[must_use]
    pub fn question(&self, text: &str) -> String {
        text.trim().to_owned()
    }

    /// The text behind a request, for a candidate of this name; the label is the next token.
    ///
    /// Begins with a line break, where tokenizers part texts in any case. `name` is the name that was trained.
    #[must_use]
    pub fn candidate(&self, name: &str) -> String {
        format!("\n\nModel: {name}\nRating:")
    }

    /// The tokens of the instruction and of a request; of a request longer than `question_tokens_max` tokens, the
    /// beginning and the end, as beginnings name the task and ends the question.
    ///
    /// # Errors
    /// When the tokenizer, which should be a [`prepared`] one, fails on the text.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        question: &str,
        question_tokens_max: usize,
    ) -> Result<PromptTokens, TemplateError> {
        Ok(PromptTokens {
            instruction: self.instruction_tokens(tokenizer)?,
            question: self.question_tokens(tokenizer, question, question_tokens_max)?,
        })
    }

    /// The tokens of a request alone, as [`Self::tokens`] has them.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn question_tokens(
        &self,
        tokenizer: &Tokenizer,
        question: &str,
        question_tokens_max: usize,
    ) -> Result<Vec<u32>, TemplateError> {
        let question = encode(tokenizer, &self.question(question))?;
        if question.len() <= question_tokens_max {
            return Ok(question);
        }
        Ok(without_middle(&question, &encode(tokenizer, GAP)?, question_tokens_max))
    }

    /// The tokens of the instruction.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn instruction_tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, TemplateError> {
        let whole = tokenizer
            .encode_fast(self.instruction, true)
            .map_err(|source| TemplateError::Tokenize(source.to_string()))?;
        // What opens a text belongs here; what ends one does not, as the request follows.
        let end =
            whole.get_special_tokens_mask().iter().rposition(|mask| *mask == 0).map_or(0, |last| last + 1);
        Ok(whole.get_ids().iter().take(end).copied().collect())
    }

    /// The tokens of a candidate.
    ///
    /// # Errors
    /// When the tokenizer fails on the name.
    pub fn candidate_tokens(&self, tokenizer: &Tokenizer, name: &str) -> Result<Vec<u32>, TemplateError> {
        encode(tokenizer, &self.candidate(name))
    }
}

impl PromptTokens {
    /// Both parts, one after the other.
    #[must_use]
    pub fn joined(&self) -> Vec<u32> {
        [self.instruction.as_slice(), self.question.as_slice()].concat()
    }
}

/// The tokens that spell each label in a vocabulary that has no labels: the mean of their rows is where the label's own row
/// starts.
///
/// # Errors
/// When the tokenizer, which should be a [`prepared`] one, fails on a label.
pub fn spellings(tokenizer: &Tokenizer) -> Result<[Vec<u32>; 5], TemplateError> {
    let mut spellings = [const { Vec::new() }; 5];
    for (spelling, label) in spellings.iter_mut().zip(LABELS) {
        *spelling = encode(tokenizer, label)?;
    }
    Ok(spellings)
}

/// A tokenizer as templates need it: no padding, no truncation, and no special tokens read out of texts. A request that
/// spells a label or the end of a text is then a request about these, and cannot stand for them.
///
/// # Errors
/// When the tokenizer cannot be set up.
pub fn prepared(mut tokenizer: Tokenizer) -> Result<Tokenizer, TemplateError> {
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|source| TemplateError::Tokenizer(source.to_string()))?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TemplateError> {
    let encoding = tokenizer.encode_fast(text, false);
    let encoding = encoding.map_err(|source| TemplateError::Tokenize(source.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}

/// Both ends with the gap between them, `tokens_max` in all; no gap where it would leave no room for the ends.
fn without_middle(tokens: &[u32], gap: &[u32], tokens_max: usize) -> Vec<u32> {
    let gap = if gap.len() + 2 <= tokens_max { gap } else { &[] };
    let room = tokens_max - gap.len();
    let (head, tail) = (room.div_ceil(2), room / 2);
    let ends = tokens.iter().take(head).chain(gap).chain(tokens.iter().skip(tokens.len() - tail));
    ends.copied().collect()
}

#[cfg(test)]
mod tests;
