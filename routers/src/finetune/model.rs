//! A base model with the labels as tokens: loaded, asked, and saved.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tokenizers::Tokenizer;

use super::config::Config;
use super::files::{create_folder, read, rename, write};
use super::network::Network;
use super::pack::{Candidate, Pack, Question};
use super::{FinetuneError, Precision, gguf, vocabulary, weights};
use crate::causal::Template;
use crate::causal::template::prepared;
use crate::tokenizer_file;

/// Where `config.json` says what a trained model was trained with.
const OURS: &str = "pointsman";
/// Files that say how a tokenizer is used, and stay as they are.
const KEPT: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"];

/// A causal language model that can be asked for labels.
pub struct CausalModel {
    pub(super) tokenizer: Tokenizer,
    pub(super) template: Template,
    /// The labels' tokens.
    pub(super) labels: [u32; 5],
    pub(super) config: Config,
    pub(super) weights: BTreeMap<String, Tensor>,
    pub(super) device: Device,
    /// By their names, files that are written again as they were.
    kept: Vec<(&'static str, Vec<u8>)>,
}

impl std::fmt::Debug for CausalModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CausalModel")
            .field("template", &self.template)
            .field("labels", &self.labels)
            .field("parameters", &self.parameters())
            .finish_non_exhaustive()
    }
}

impl CausalModel {
    /// Loads a folder holding `config.json`, `tokenizer.json` and `model.safetensors` of the Llama family, untrained or
    /// trained here before. It runs on the first CUDA device, if this build and the machine have one.
    ///
    /// # Errors
    /// When a file is missing, malformed, or describes a network that cannot be trained here; the error names the file.
    pub fn load(folder: &Path) -> Result<Self, FinetuneError> {
        let device = Device::cuda_if_available(0)?;
        let config_path = folder.join("config.json");
        let mut config = Config::parse(&config_path, &read(&config_path)?)?;
        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer = read_tokenizer(&tokenizer_path)?;
        let weights = weights::load(&folder.join("model.safetensors"), &mut config, &device)?;
        let template = trained_with(&config_path, &config)?;
        let kept = KEPT.into_iter().filter_map(|name| Some((name, std::fs::read(folder.join(name)).ok()?)));
        Self::new(tokenizer, template, (config, weights), kept.collect(), device)
    }

    /// Loads a GGUF file, with the tokenizer that its tokens and merges make.
    ///
    /// # Errors
    /// As [`CausalModel::load`].
    pub fn load_gguf(file: &Path, tokenizer: Tokenizer) -> Result<Self, FinetuneError> {
        let device = Device::cuda_if_available(0)?;
        let base = gguf::load(file, &device)?;
        Self::new(tokenizer, Template::CURRENT, base, Vec::new(), device)
    }

    fn new(
        tokenizer: Tokenizer,
        template: Template,
        (mut config, mut weights): (Config, BTreeMap<String, Tensor>),
        kept: Vec<(&'static str, Vec<u8>)>,
        device: Device,
    ) -> Result<Self, FinetuneError> {
        let mut tokenizer = prepared(tokenizer)?;
        // Nothing is put before a text or behind it where routers ask the model, either.
        tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let labels = vocabulary::add_labels(&mut tokenizer, &mut weights, &mut config)?;
        Ok(Self { tokenizer, template, labels, config, weights, device, kept })
    }

    /// The number of weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.weights.values().map(Tensor::elem_count).sum()
    }

    /// The tokenizer, labels included, as the template needs it.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The labels' logits for pairs of a request and a candidate's name, a row for each pair.
    ///
    /// # Errors
    /// When a text has no tokens, or the network fails.
    pub fn label_logits(
        &self,
        pairs: &[(&str, &str)],
        question_tokens_max: usize,
    ) -> Result<Vec<[f32; 5]>, FinetuneError> {
        let network = Network::new(&self.config, &self.weights)?;
        let logits = pairs.iter().map(|(question, name)| {
            let question = self.question(question, &[(*name, self.labels[0])], question_tokens_max)?;
            let rows = self.labels_of(&network, &[question])?.0;
            Ok(rows.into_iter().next().unwrap_or_default())
        });
        logits.collect()
    }

    /// The tokens of a request, and of candidates by name and the token of the right label.
    pub(super) fn question(
        &self,
        text: &str,
        candidates: &[(&str, u32)],
        question_tokens_max: usize,
    ) -> Result<Question, FinetuneError> {
        let prefix = self.template.tokens(&self.tokenizer, text, question_tokens_max)?.joined();
        let candidates = candidates.iter().map(|(name, target)| {
            let tokens = self.template.candidate_tokens(&self.tokenizer, name)?;
            Ok(Candidate { tokens, target: *target })
        });
        Ok(Question { prefix, candidates: candidates.collect::<Result<_, FinetuneError>>()? })
    }

    /// The labels' logits of every candidate, and the sum of the right labels' losses over the whole vocabulary.
    pub(super) fn labels_of(
        &self,
        network: &Network,
        questions: &[Question],
    ) -> Result<(Vec<[f32; 5]>, f64), FinetuneError> {
        let pack = Pack::of(questions, &self.config.frequencies, &self.device)?;
        let logits = network.logits(&pack)?;
        let loss = super::forms::cross_entropy(&logits, &pack.targets)?.to_scalar::<f32>()?;
        let labels = Tensor::new(&self.labels, &self.device)?;
        let rows: Vec<Vec<f32>> = logits.index_select(&labels, 1)?.to_vec2()?;
        let rows =
            rows.iter().map(|row| std::array::from_fn(|place| row.get(place).copied().unwrap_or(f32::NAN)));
        Ok((rows.collect(), f64::from(loss)))
    }

    /// Writes the folder of an ordinary model: `config.json`, `tokenizer.json` with the labels, `model.safetensors`, and
    /// what the base had beside them. `config.json` also says which template and which length of requests it was trained
    /// with.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(
        &self,
        folder: &Path,
        precision: Precision,
        question_tokens_max: usize,
    ) -> Result<(), FinetuneError> {
        create_folder(folder)?;
        let (dtype, name) = match precision {
            Precision::Bf16 => (DType::BF16, "bfloat16"),
            Precision::F32 => (DType::F32, "float32"),
        };
        let mut config = self.config.file.clone();
        config.insert("torch_dtype".to_owned(), json!(name));
        config.insert("tie_word_embeddings".to_owned(), json!(self.config.is_tied));
        let ours = json!({"template": self.template.version(), "question_tokens_max": question_tokens_max});
        config.insert(OURS.to_owned(), ours);
        let config = serde_json::Value::Object(config);
        write(&folder.join("config.json"), format!("{config:#}\n"))?;
        let tokenizer = self.tokenizer.to_string(true);
        write(
            &folder.join("tokenizer.json"),
            tokenizer.map_err(|source| FinetuneError::Vocabulary(source.to_string()))?,
        )?;
        for (name, bytes) in &self.kept {
            write(&folder.join(name), bytes)?;
        }
        if !self.kept.iter().any(|(name, _)| *name == KEPT[0]) {
            // Which class reads tokenizer.json; others would look for files of their own.
            write(&folder.join(KEPT[0]), "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n")?;
        }
        let weights = self.weights.iter().map(|(name, tensor)| Ok((name.as_str(), tensor.to_dtype(dtype)?)));
        let weights = weights.collect::<Result<Vec<_>, FinetuneError>>()?;
        write_tensors(
            &folder.join("model.safetensors"),
            weights,
            HashMap::from([("format".to_owned(), "pt".to_owned())]),
        )
    }
}

/// Writes a safetensors file beside its place, then puts it there.
pub(super) fn write_tensors(
    path: &Path,
    tensors: Vec<(&str, Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<(), FinetuneError> {
    let partial = path.with_extension("partial");
    safetensors::serialize_to_file(tensors, Some(metadata), &partial).map_err(|source| {
        FinetuneError::Write { path: partial.clone(), source: std::io::Error::other(source) }
    })?;
    rename(&partial, path)
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer, FinetuneError> {
    tokenizer_file::parse(&read(path)?)
        .map_err(|reason| FinetuneError::Base { path: path.to_owned(), reason })
}

/// The template that a folder was trained with, or the one in use.
fn trained_with(path: &Path, config: &Config) -> Result<Template, FinetuneError> {
    let Some(version) = config.file.get(OURS).and_then(|ours| ours.get("template")?.as_str()) else {
        return Ok(Template::CURRENT);
    };
    Template::of_version(version).ok_or_else(|| FinetuneError::Unsupported {
        path: path.to_owned(),
        what: format!("template {version}"),
        supported: Template::CURRENT.version(),
    })
}
