//! What a decoder is asked that somebody else runs.

use std::path::Path;

use tokenizers::Tokenizer;

use super::reader::{bounded, shortened};
use super::template::{GAP, prepared};
use super::{CausalWeights, ReaderError, Template};
use crate::tokenizer_file;

/// Most bytes of a text's token that are sent, on average, to a server that cuts nothing itself.
const BYTES_PER_TOKEN: usize = 3;

/// The prompts of an artefact for a server: it answers with the labels' log-probabilities, which do for logits.
pub struct Script {
    template: Template,
    question_tokens_max: usize,
    /// Without it, prompts are texts.
    tokenizer: Option<Tokenizer>,
}

/// A prompt whose next token is the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// As texts, which a server may part into other tokens than those that were trained.
    Text(String),
    /// The very tokens that were trained.
    Tokens(Vec<u32>),
}

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Script").field("template", &self.template).finish_non_exhaustive()
    }
}

impl Script {
    /// The prompts of these weights.
    ///
    /// # Errors
    /// When the labels are not in the decoder's vocabulary, where a server could say how probable they are.
    pub fn new(weights: &CausalWeights) -> Result<Self, ReaderError> {
        let template = Template::of_version(&weights.template)
            .ok_or_else(|| ReaderError::Template(weights.template.clone()))?;
        if weights.head.is_some() {
            return Err(ReaderError::OwnHead);
        }
        Ok(Self { template, question_tokens_max: weights.question_tokens_max as usize, tokenizer: None })
    }

    /// The same with prompts of tokens, by a `tokenizer.json` or that of a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn with_tokenizer(self, path: &Path) -> Result<Self, ReaderError> {
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
        let failed = |reason: String| ReaderError::Tokenizer { file: file.clone(), reason };
        let bytes = std::fs::read(&file).map_err(|error| failed(error.to_string()))?;
        let tokenizer = prepared(tokenizer_file::parse(&bytes).map_err(failed)?)?;
        Ok(Self { tokenizer: Some(tokenizer), ..self })
    }

    /// The prompts of a question, one for each name.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn prompts(&self, question: &str, names: &[&str]) -> Result<Vec<Prompt>, ReaderError> {
        let Some(tokenizer) = &self.tokenizer else {
            let bytes_max = self.question_tokens_max * BYTES_PER_TOKEN;
            let question = self.template.question(&bounded(question.trim(), bytes_max, GAP));
            let text = |name| {
                Prompt::Text(
                    [self.template.instruction(), &question, &self.template.candidate(name)].concat(),
                )
            };
            return Ok(names.iter().map(|name| text(name)).collect());
        };
        let question = shortened(question, self.question_tokens_max);
        let shared = self.template.tokens(tokenizer, &question, self.question_tokens_max)?.joined();
        let tokens = |name: &&str| {
            let suffix = self.template.candidate_tokens(tokenizer, name)?;
            Ok(Prompt::Tokens([shared.as_slice(), &suffix].concat()))
        };
        names.iter().map(tokens).collect()
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::causal::Head;
    use crate::decoder::fixture::Fixture;

    fn weights() -> CausalWeights {
        CausalWeights {
            template: Template::CURRENT.version().to_owned(),
            width: 8,
            question_tokens_max: 16,
            asked: vec![0],
            levels: vec![0.0],
            references: vec![0],
            slope: 1.0,
            head: None,
        }
    }

    #[test]
    fn texts_are_those_of_the_template_and_long_ones_lose_their_middle() {
        let script = Script::new(&weights()).unwrap();
        let [Prompt::Text(one), Prompt::Text(other)] = &script.prompts("  why? ", &["a", "b"]).unwrap()[..]
        else {
            panic!("texts")
        };
        let template = Template::CURRENT;
        assert_eq!(*one, format!("{}why?\n\nModel: a\nRating:", template.instruction()));
        assert!(other.ends_with("Model: b\nRating:"));
        let long = format!("first {}last", "\u{e9}".repeat(1_000));
        let [Prompt::Text(cut)] = &script.prompts(&long, &["a"]).unwrap()[..] else { panic!("a text") };
        assert!(cut.contains("Request:\nfirst ") && cut.contains("last\n\nModel"), "{cut}");
        assert!(cut.len() <= template.instruction().len() + 48 + GAP.len() + "\n\nModel: a\nRating:".len());
    }

    #[test]
    fn tokens_are_those_that_a_reader_in_this_process_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(matches!(
            Script::new(&weights()).unwrap().with_tokenizer(folder.path()),
            Err(ReaderError::Tokenizer { .. })
        ));
        Fixture::llama().write(folder.path());
        let tokenizer = Tokenizer::from_file(path).unwrap();
        let script = Script::new(&weights()).unwrap().with_tokenizer(folder.path()).unwrap();
        let question = "one two three ".repeat(40);
        let found = script.prompts(&question, &["a"]).unwrap();
        let tokenizer = prepared(tokenizer).unwrap();
        let shared = Template::CURRENT.tokens(&tokenizer, &question, 16).unwrap().joined();
        let suffix = Template::CURRENT.candidate_tokens(&tokenizer, "a").unwrap();
        assert_eq!(found, [Prompt::Tokens([shared, suffix].concat())]);
    }

    #[test]
    fn labels_of_a_head_of_its_own_cannot_be_served() {
        let head = Head { labels: Mat::zeros(5, 8), down: Mat::zeros(2, 8), up: Mat::zeros(8, 2) };
        let refused = Script::new(&CausalWeights { head: Some(head), ..weights() }).unwrap_err();
        assert!(refused.to_string().contains("--mode full"), "{refused}");
    }
}
