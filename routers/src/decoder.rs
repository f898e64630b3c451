//! Causal language models of the Llama family: from a folder or a GGUF file to hidden states and logits.
//!
//! Llama, Mistral, Qwen2 and SmolLM2 are one network: root-mean-square norms, rotary positions, grouped-query attention
//! and a gated feed-forward layer. What prompts have in common is computed once ([`Prefix`]); what differs between
//! candidates goes through the network in one pass ([`Decoder::branch`]). Sequential: threads are the caller's
//! business. Must not know what the states are used for.

mod attention;
mod config;
mod error;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod forward;
mod gguf_model;
mod kernels;
mod matrix;
mod network;
mod pieces;
mod prefix;
mod rope;
mod vocabulary;
mod weights;

use std::path::Path;
use std::sync::Arc;

use faer::{Accum, Mat, MatRef};
use tokenizers::Tokenizer;

pub use error::DecoderError;
pub use prefix::Prefix;

use attention::Pass;
use forward::Outcome;
use network::Network;

/// Most tokens that go through the network in one pass: longer sequences are cut into passes, which bounds the memory
/// for scores, and how many of them are of tokens that may not see each other.
const PASS_TOKENS: usize = 256;

/// How weights are kept in memory. What is computed with them is computed in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Four bytes a weight.
    #[default]
    F32,
    /// Two bytes a weight, rounded to the nearest; widened again whenever they are used.
    Bf16,
}

/// A causal language model: tokenizer and network.
pub struct Decoder {
    tokenizer: Tokenizer,
    network: Network,
    fingerprint: Arc<str>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("width", &self.width())
            .field("vocabulary", &self.vocabulary())
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads a folder holding `config.json`, `tokenizer.json` and `model.safetensors` (or
    /// `model.safetensors.index.json` and the shards that it names), or a `.gguf` file.
    ///
    /// # Errors
    /// When a file is missing, malformed, or describes a network that this crate cannot run; the error names the file.
    pub fn load(path: &Path, precision: Precision) -> Result<Self, DecoderError> {
        if path.is_dir() { files::load_folder(path, precision) } else { files::load_gguf(path, precision) }
    }

    /// The number of dimensions of a hidden state.
    #[must_use]
    pub fn width(&self) -> usize {
        self.network.config.hidden
    }

    /// The number of tokens that there are.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.network.config.vocabulary
    }

    /// The most tokens of a sequence, those of its prefix included.
    #[must_use]
    pub fn context(&self) -> usize {
        self.network.config.positions
    }

    /// The tokenizer: no padding, no truncation, and no special tokens but those that a text holds.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// SHA-256 in hexadecimal over what decides the outputs: weights, tokenizer and configuration, as they are in the
    /// files. Not the precision that the weights are kept in.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tokens of a text; its special tokens (`<|im_start|>`) are read as such.
    ///
    /// # Errors
    /// When the tokenizer fails on it.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, DecoderError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|source| DecoderError::Tokenize(source.to_string()))
    }

    /// The state after these tokens, which may be none.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, or there are more than the model takes.
    pub fn prefix(&self, tokens: &[u32]) -> Result<Prefix, DecoderError> {
        self.extend(&Prefix::empty(Arc::clone(&self.fingerprint)), tokens)
    }

    /// The state after a prefix and these tokens. What the prefix holds is shared, not computed again.
    ///
    /// # Errors
    /// As for [`Self::prefix`]; also when the prefix is another decoder's.
    pub fn extend(&self, prefix: &Prefix, tokens: &[u32]) -> Result<Prefix, DecoderError> {
        self.check(prefix, tokens.len())?;
        let mut prefix = prefix.clone();
        for trunk in tokens.chunks(PASS_TOKENS) {
            self.step(&mut prefix, trunk, &[])?;
        }
        Ok(prefix)
    }

    /// Hidden states (after the last norm) at the last token of each suffix that follows a prefix: a row per suffix
    /// [suffixes × width]. Suffixes do not see each other.
    ///
    /// # Errors
    /// As for [`Self::extend`], for each suffix; also when a suffix is empty, or a state comes out not finite.
    pub fn branch(&self, prefix: &Prefix, suffixes: &[&[u32]]) -> Result<Mat<f32>, DecoderError> {
        self.check_suffixes(prefix, 0, suffixes)?;
        let mut hidden = Mat::zeros(suffixes.len(), self.width());
        let mut first = 0;
        while let Some(suffix) = suffixes.get(first) {
            let rows = if suffix.len() > PASS_TOKENS {
                // Too long to be one of a pass: all but the last of its passes only make keys and values.
                let (head, tail) = suffix.split_at((suffix.len() - 1) / PASS_TOKENS * PASS_TOKENS);
                self.branches(&self.extend(prefix, head)?, &[], &[tail])?
            } else {
                self.branches(prefix, &[], fitting(&suffixes[first..]))?
            };
            hidden.as_mut().subrows_mut(first, rows.nrows()).copy_from(&rows);
            first += rows.nrows();
        }
        Ok(hidden)
    }

    /// What [`Self::branch`] gives after a prefix extended by `shared`, which is not kept: where all fits into one
    /// pass, the weights are gone through once and not twice.
    ///
    /// # Errors
    /// As for [`Self::branch`].
    pub fn branch_after(
        &self,
        prefix: &Prefix,
        shared: &[u32],
        suffixes: &[&[u32]],
    ) -> Result<Mat<f32>, DecoderError> {
        self.check_suffixes(prefix, shared.len(), suffixes)?;
        // What is ahead of the last pass can only be extended.
        let (head, tail) = shared.split_at(shared.len().saturating_sub(1) / PASS_TOKENS * PASS_TOKENS);
        let prefix = self.extend(prefix, head)?;
        let tokens = tail.len() + suffixes.iter().map(|suffix| suffix.len()).sum::<usize>();
        if tokens <= PASS_TOKENS {
            self.branches(&prefix, tail, suffixes)
        } else {
            self.branch(&self.extend(&prefix, tail)?, suffixes)
        }
    }

    /// Logits of these tokens for hidden states [rows × width]: [rows × tokens]. A token outside the vocabulary has
    /// −∞.
    ///
    /// # Panics
    /// When the states have another width.
    #[must_use]
    pub fn logits_of(&self, hidden: MatRef<'_, f32>, tokens: &[u32]) -> Mat<f32> {
        let mut row = vec![0.0; self.width()];
        let mut logits = Mat::full(hidden.nrows(), tokens.len(), f32::NEG_INFINITY);
        for (token, mut logits) in tokens.iter().zip(logits.col_iter_mut()) {
            if self.network.output().row(*token as usize, &mut row).is_some() {
                logits.copy_from(hidden * faer::ColRef::from_slice(&row));
            }
        }
        logits
    }

    /// The row of the output matrix by which a token's logits are made; `None` outside the vocabulary.
    #[must_use]
    pub fn output_row(&self, token: u32) -> Option<Vec<f32>> {
        let mut row = vec![0.0; self.width()];
        self.network.output().row(token as usize, &mut row)?;
        Some(row)
    }

    /// Logits of all tokens for hidden states [rows × width]: [rows × vocabulary].
    ///
    /// # Panics
    /// When the states have another width.
    #[must_use]
    pub fn logits(&self, hidden: MatRef<'_, f32>) -> Mat<f32> {
        // A state's logits side by side: where they lie apart, faer's product is many times slower.
        let mut logits = Mat::zeros(self.vocabulary(), hidden.nrows());
        let into = logits.as_mut();
        self.network.output().multiply_into(hidden.transpose(), into, Accum::Replace, &mut Vec::new());
        logits.transpose().to_owned()
    }

    /// The most likely token after a prompt, the most likely after that, and so on: at most `count`, up to one that
    /// ends a text, which is left out. Of equals the first.
    ///
    /// # Errors
    /// As for [`Self::branch`].
    pub fn greedy(&self, prompt: &[u32], count: usize) -> Result<Vec<u32>, DecoderError> {
        let (Some(last), true) = (prompt.len().checked_sub(1), count > 0) else { return Ok(Vec::new()) };
        let mut prefix = self.prefix(&prompt[..last])?;
        let (mut token, mut answer) = (prompt[last], Vec::new());
        while answer.len() < count {
            self.check(&prefix, 1)?;
            let states = self.step(&mut prefix, &[token], &[0])?;
            let logits = self.logits(MatRef::from_row_major_slice(&states, 1, self.width()));
            let best =
                logits.row(0).iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (token, logit)| {
                    if *logit > best.1 { (token, *logit) } else { best }
                });
            token = u32::try_from(best.0).unwrap_or(u32::MAX);
            if self.network.config.ends.contains(&token) {
                break;
            }
            answer.push(token);
        }
        Ok(answer)
    }

    /// Lengthens a prefix by one pass; hidden states of those of its tokens that are `wanted`.
    fn step(&self, prefix: &mut Prefix, trunk: &[u32], wanted: &[usize]) -> Result<Vec<f32>, DecoderError> {
        let Outcome { segment, states } = self.network.run(prefix, &Pass { trunk, branches: &[] }, wanted)?;
        prefix.push(segment, self.network.config.head_size);
        Ok(states)
    }

    /// The rows of one pass.
    fn branches(
        &self,
        prefix: &Prefix,
        trunk: &[u32],
        branches: &[&[u32]],
    ) -> Result<Mat<f32>, DecoderError> {
        let pass = Pass { trunk, branches };
        let states = self.network.run(prefix, &pass, &pass.ends())?.states;
        Ok(MatRef::from_row_major_slice(&states, branches.len(), self.width()).to_owned())
    }

    fn check_suffixes(
        &self,
        prefix: &Prefix,
        shared: usize,
        suffixes: &[&[u32]],
    ) -> Result<(), DecoderError> {
        if suffixes.iter().any(|suffix| suffix.is_empty()) {
            return Err(DecoderError::Empty);
        }
        self.check(prefix, shared + suffixes.iter().map(|suffix| suffix.len()).max().unwrap_or(0))
    }

    /// Whether a prefix is this decoder's and has room for this many tokens.
    fn check(&self, prefix: &Prefix, more: usize) -> Result<(), DecoderError> {
        if prefix.decoder() != &*self.fingerprint {
            return Err(DecoderError::ForeignPrefix);
        }
        let (tokens, tokens_max) = (prefix.len() + more, self.context());
        if tokens > tokens_max { Err(DecoderError::TooLong { tokens, tokens_max }) } else { Ok(()) }
    }
}

/// The first suffixes that fit into a pass, at least one.
fn fitting<'a, 's>(suffixes: &'s [&'a [u32]]) -> &'s [&'a [u32]] {
    let mut tokens = 0;
    let fitting = suffixes.iter().take_while(|suffix| {
        tokens += suffix.len();
        tokens <= PASS_TOKENS
    });
    &suffixes[..fitting.count().max(1)]
}

#[cfg(test)]
mod tests;
