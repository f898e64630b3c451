//! What a network remembers of tokens that went through it: their keys and values, layer by layer.

use std::sync::Arc;

/// Segments that are no longer than this together are copied into one: short ones would make many small products.
const JOINED_TOKENS_MAX: usize = 64;

/// The state after some tokens. What is computed from it shares it; clones share it too.
#[derive(Clone)]
pub struct Prefix {
    segments: Vec<Arc<Segment>>,
    tokens: usize,
    /// Whose it is: the decoder's fingerprint.
    decoder: Arc<str>,
}

/// Keys and values of neighbouring tokens.
pub(super) struct Segment {
    pub(super) tokens: usize,
    pub(super) layers: Vec<KeysValues>,
}

/// Keys and values of one layer: head after head, in each token after token.
pub(super) struct KeysValues {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefix").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl Prefix {
    /// The state before the first token.
    pub(super) fn empty(decoder: Arc<str>) -> Self {
        Self { segments: Vec::new(), tokens: 0, decoder }
    }

    /// The number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens
    }

    /// Whether there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    pub(super) fn decoder(&self) -> &str {
        &self.decoder
    }

    pub(super) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Adds what follows, whose heads are `head_size` wide.
    pub(super) fn push(&mut self, segment: Segment, head_size: usize) {
        self.tokens += segment.tokens;
        let short = |last: &Arc<Segment>| last.tokens + segment.tokens <= JOINED_TOKENS_MAX;
        match self.segments.last_mut() {
            Some(last) if short(last) => *last = Arc::new(last.join(&segment, head_size)),
            _ => self.segments.push(Arc::new(segment)),
        }
    }
}

impl Segment {
    fn join(&self, next: &Self, head_size: usize) -> Self {
        let join = |first: &[f32], second: &[f32]| {
            let first = first.chunks_exact(self.tokens * head_size);
            let heads = first.zip(second.chunks_exact(next.tokens * head_size));
            heads.flat_map(|(first, second)| first.iter().chain(second)).copied().collect()
        };
        let layers = self.layers.iter().zip(&next.layers).map(|(first, second)| KeysValues {
            keys: join(&first.keys, &second.keys),
            values: join(&first.values, &second.values),
        });
        Self { tokens: self.tokens + next.tokens, layers: layers.collect() }
    }
}
