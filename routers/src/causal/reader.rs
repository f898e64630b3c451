//! Who answers: a decoder in this process, asked about the candidates of a question.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use faer::Mat;
use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::template::prepared;
use super::{CausalWeights, Head, LABELS, Template, TemplateError};
use crate::decoder::{Decoder, DecoderError, Prefix};

/// Most bytes of a text that are looked at, four times what any question keeps: tokenising a longer one would take longer than
/// reading it.
const BYTES_PER_TOKEN: usize = 16;

/// A decoder as artefacts ask it.
pub struct Reader {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    template: Template,
    labels: Labels,
    /// After the instruction, which is the same for every question.
    instruction: Prefix,
    question_tokens_max: usize,
    /// What stands behind a question for each name that is asked about.
    suffixes: HashMap<String, Vec<u32>>,
}

/// Where the labels' logits come from.
#[derive(Debug, Clone)]
enum Labels {
    Head(Head),
    /// Tokens of the vocabulary.
    Tokens([u32; LABELS.len()]),
}

/// Why a decoder cannot be asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The artefact reads labels that the decoder's vocabulary lacks.
    #[error(
        "the decoder's vocabulary has no token `{0}`: it was not trained to label; give the one that `train causal --mode full` wrote"
    )]
    NoLabel(&'static str),
    /// The artefact is for another decoder.
    #[error("the artefact reads hidden states of {expected} dimensions, the decoder's have {found}")]
    Width {
        /// Dimensions that it reads.
        expected: usize,
        /// Those of the decoder.
        found: usize,
    },
    /// Questions as long as the artefact allows do not fit.
    #[error("the decoder takes {context} tokens, and a question about `{name}` may have {tokens}")]
    Context {
        /// Most tokens of the decoder.
        context: usize,
        /// Most tokens of a question, with all that stands before it and behind it.
        tokens: usize,
        /// The model that it is about.
        name: String,
    },
    /// Nobody said that this model would be asked about.
    #[error("`{0}` is not among the models that are asked about")]
    Name(String),
    /// A template of a later release.
    #[error("the artefact asks by template {0:?}, which this release does not know")]
    Template(String),
    /// Nobody but this process can read the labels.
    #[error(
        "its labels are read off hidden states, which no server gives: serve a model that `train causal --mode full` wrote"
    )]
    OwnHead,
    /// There is no tokenizer.
    #[error("{} holds no tokenizer that can be used: {reason}", .file.display())]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A text has no tokens.
    #[error(transparent)]
    Tokens(#[from] TemplateError),
    /// The decoder failed.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

impl Reader {
    /// Asks a decoder about these models as `weights` do. Computes what all questions share.
    ///
    /// # Errors
    /// When the decoder is none that they were trained with.
    pub fn new(decoder: Arc<Decoder>, weights: &CausalWeights, names: &[&str]) -> Result<Self, ReaderError> {
        let template = Template::of_version(&weights.template)
            .ok_or_else(|| ReaderError::Template(weights.template.clone()))?;
        if weights.width != decoder.width() {
            return Err(ReaderError::Width { expected: weights.width, found: decoder.width() });
        }
        let labels = match &weights.head {
            Some(head) => Labels::Head(head.clone()),
            None => Labels::Tokens(label_tokens(decoder.tokenizer())?),
        };
        Self::with(decoder, (template, labels), weights.question_tokens_max as usize, names)
    }

    /// Gives hidden states alone, for trainings of heads.
    ///
    /// # Errors
    /// When the decoder cannot read the template.
    pub fn untrained(
        decoder: Arc<Decoder>,
        template: Template,
        question_tokens_max: usize,
        names: &[&str],
    ) -> Result<Self, ReaderError> {
        Self::with(decoder, (template, Labels::Tokens([0; LABELS.len()])), question_tokens_max, names)
    }

    fn with(
        decoder: Arc<Decoder>,
        (template, labels): (Template, Labels),
        question_tokens_max: usize,
        names: &[&str],
    ) -> Result<Self, ReaderError> {
        let (tokenizer, context) = (prepared(decoder.tokenizer().clone())?, decoder.context());
        let instruction = template.instruction_tokens(&tokenizer)?;
        let mut suffixes = HashMap::new();
        for name in names {
            let suffix = template.candidate_tokens(&tokenizer, name)?;
            let tokens = instruction.len() + question_tokens_max + suffix.len();
            if tokens > context {
                return Err(ReaderError::Context { context, tokens, name: (*name).to_owned() });
            }
            suffixes.insert((*name).to_owned(), suffix);
        }
        let instruction = decoder.prefix(&instruction)?;
        Ok(Self { decoder, tokenizer, template, labels, instruction, question_tokens_max, suffixes })
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// The last hidden states before the labels: a row for each name, which is one of those that the reader was made for.
    ///
    /// # Errors
    /// When the decoder fails, or a name is another.
    pub fn hidden(&self, question: &str, names: &[&str]) -> Result<Mat<f32>, ReaderError> {
        let question = shortened(question, self.question_tokens_max);
        let question = self.template.question_tokens(&self.tokenizer, &question, self.question_tokens_max)?;
        let suffix = |name: &&str| {
            let suffix = self.suffixes.get(*name).map(Vec::as_slice);
            suffix.ok_or_else(|| ReaderError::Name((*name).to_owned()))
        };
        let suffixes = names.iter().map(suffix).collect::<Result<Vec<_>, _>>()?;
        Ok(self.decoder.branch_after(&self.instruction, &question, &suffixes)?)
    }

    /// The logits of the five labels, for each name.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn read(&self, question: &str, names: &[&str]) -> Result<Vec<[f32; LABELS.len()]>, ReaderError> {
        Ok(self.labels_of(&self.hidden(question, names)?))
    }

    /// The logits of the five labels, for each row of hidden states.
    #[must_use]
    pub fn labels_of(&self, hidden: &Mat<f32>) -> Vec<[f32; LABELS.len()]> {
        let logits = match &self.labels {
            Labels::Head(head) => head.logits(hidden.as_ref()),
            Labels::Tokens(tokens) => self.decoder.logits_of(hidden.as_ref(), tokens),
        };
        (0..logits.nrows()).map(|row| std::array::from_fn(|label| logits[(row, label)])).collect()
    }

    /// The same with another head, of the decoder's width.
    #[must_use]
    pub fn with_head(self, head: Head) -> Self {
        Self { labels: Labels::Head(head), ..self }
    }

    /// The same with the labels of the decoder's own vocabulary.
    ///
    /// # Errors
    /// When it has none.
    pub fn with_own_labels(self) -> Result<Self, ReaderError> {
        let labels = Labels::Tokens(label_tokens(self.decoder.tokenizer())?);
        Ok(Self { labels, ..self })
    }
}

impl Reader {
    /// The same for many questions, side by side on as many threads as there are; in their order.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn read_all(
        &self,
        questions: &[&str],
        names: &[&str],
    ) -> Result<Vec<Vec<[f32; LABELS.len()]>>, ReaderError> {
        questions.par_iter().map(|question| self.read(question, names)).collect()
    }
}

/// A text without what would be cut away as tokens in any case.
pub(super) fn shortened(question: &str, tokens_max: usize) -> std::borrow::Cow<'_, str> {
    bounded(question.trim(), tokens_max * BYTES_PER_TOKEN, "")
}

/// The tokens of the labels in a vocabulary that has them.
fn label_tokens(tokenizer: &Tokenizer) -> Result<[u32; LABELS.len()], ReaderError> {
    let mut tokens = [0; LABELS.len()];
    for (token, label) in tokens.iter_mut().zip(LABELS) {
        *token = tokenizer.token_to_id(label).ok_or(ReaderError::NoLabel(label))?;
    }
    Ok(tokens)
}

/// A text's beginning and end, `bytes_max` bytes together or a little less, with this between them in place of the rest.
pub(super) fn bounded<'a>(text: &'a str, bytes_max: usize, gap: &str) -> std::borrow::Cow<'a, str> {
    if text.len() <= bytes_max {
        return text.into();
    }
    let head = text.floor_char_boundary(bytes_max / 2);
    let tail = text.ceil_char_boundary(text.len() - bytes_max / 2);
    [&text[..head], gap, &text[tail..]].concat().into()
}
