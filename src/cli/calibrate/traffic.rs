//! A user's prompts, as the gateway would see them.

use std::collections::HashMap;
use std::path::Path;

use faer::Mat;
use pointsman::config::{RoutingText, ServerLimits};
use pointsman::routing::engine::Engine;
use pointsman::routing::text::routing_text;
use pointsman_routers::artifact::{Artifact, CalibrationSample};
use pointsman_routers::select::hash::{mix, text_hash};

use crate::cli::output::Failure;
use crate::cli::progress;
use crate::cli::prompts::{Prompts, request};

/// Prompts that an artefact carries at most: more would make no share more exact than its prompts are typical, and
/// every snapshot slower to build.
const SAMPLE_MAX: usize = 8_192;

/// Prompts that are scored at a time.
pub(super) const BATCH: usize = 64;

/// Prompts with what routing reads of them.
pub(super) struct Traffic {
    /// The routing texts.
    pub(super) texts: Vec<String>,
    /// The estimated tokens of each prompt.
    pub(super) prompt_tokens: Vec<u32>,
}

impl Traffic {
    /// Reads the prompts of a file.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let (mut texts, mut prompt_tokens) = (Vec::new(), Vec::new());
        for prompt in Prompts::open(Some(file), &[])?.all()? {
            let request = request("", &prompt.turns)?;
            let messages = request.messages().map_err(Failure::because)?;
            let tokens = request.requirements(&messages).prompt_tokens;
            let chars_max = ServerLimits::default().routing_text_chars;
            texts.push(routing_text(RoutingText::LastUser, &messages, chars_max));
            prompt_tokens.push(u32::try_from(tokens).unwrap_or(u32::MAX));
        }
        if texts.is_empty() {
            return Err(Failure::Because(format!("{}: holds no prompts", file.display())));
        }
        Ok(Self { texts, prompt_tokens })
    }

    /// What an artefact keeps of them: a sample by hash, the same in whatever order they came, scored by the artefact's
    /// router.
    pub(super) fn sample(&self, artifact: &Artifact, engine: &Engine) -> Result<CalibrationSample, Failure> {
        let (places, candidates) = (self.places(), artifact.candidates());
        let mut shifts = Mat::zeros(places.len(), artifact.ratings().models.len());
        let bar = progress::bar("prompts sampled", places.len());
        for (chunk, places) in places.chunks(BATCH).enumerate() {
            let texts: Vec<&str> =
                places.iter().filter_map(|&place| self.texts.get(place)).map(String::as_str).collect();
            let batch = engine.query(&texts, &candidates).map_err(Failure::Because)?;
            let scored = artifact.shifts(engine.router(), &batch).map_err(Failure::because)?;
            shifts.subrows_mut(chunk * BATCH, places.len()).copy_from(&scored);
            bar.inc(places.len() as u64);
        }
        bar.finish_and_clear();
        let tokens: Vec<u32> =
            places.iter().map(|&place| self.prompt_tokens.get(place).copied().unwrap_or_default()).collect();
        Ok(CalibrationSample::quantise(&shifts, &tokens))
    }

    /// The prompts with the lowest lots, in the lots' order. A text that came often has a lot for each time.
    fn places(&self) -> Vec<usize> {
        let mut times: HashMap<u64, u64> = HashMap::new();
        let lots = self.texts.iter().map(|text| {
            let hash = text_hash(text);
            let times = times.entry(hash).or_default();
            *times += 1;
            mix(hash ^ mix(*times))
        });
        let mut places: Vec<(u64, usize)> = lots.zip(0..).collect();
        places.sort_unstable();
        places.truncate(SAMPLE_MAX);
        places.into_iter().map(|(_, place)| place).collect()
    }
}
