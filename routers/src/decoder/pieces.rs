//! SentencePiece's byte-pair encoding from a GGUF file's metadata: pieces with scores, where other files list merges (Llama 2, Mistral).

use std::{cmp::Ordering, collections::HashMap};

use tokenizers::{
    DecoderWrapper, NormalizerWrapper, Tokenizer,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as Decoders, strip::Strip},
    models::bpe::{BPE, Vocab},
    normalizers::{Prepend, Replace, Sequence as Normalizers},
};

/// Stands for a space.
const SPACE: &str = "▁";

/// The kinds of pieces that are never made of others: unknown, control and byte.
const NOT_MERGED: [u64; 3] = [2, 3, 6];
const UNKNOWN: u64 = 2;

/// What a file says of its pieces, in the order of their ids.
pub(super) struct Pieces<'a> {
    pub(super) texts: &'a [&'a str],
    pub(super) scores: Vec<f64>,
    pub(super) kinds: Vec<u64>,
    /// A text begins as if a space stood before it.
    pub(super) add_space_prefix: bool,
}

impl Pieces<'_> {
    pub(super) fn tokenizer(&self) -> Result<Tokenizer, String> {
        if self.scores.len() != self.texts.len() || self.kinds.len() != self.texts.len() {
            let (texts, scores, kinds) = (self.texts.len(), self.scores.len(), self.kinds.len());
            return Err(format!(
                "its {texts} tokens have {scores} scores and {kinds} kinds; convert the model anew"
            ));
        }
        let vocabulary: Vocab = self.texts.iter().map(|text| (*text).to_owned()).zip(0u32..).collect();
        let has_bytes = (0..=u8::MAX).all(|byte| vocabulary.contains_key(&format!("<0x{byte:02X}>")));
        let unknown = self.kinds.iter().position(|&kind| kind == UNKNOWN);
        let mut model = BPE::builder()
            .vocab_and_merges(vocabulary, self.merges())
            .fuse_unk(true)
            .byte_fallback(has_bytes);
        if let Some(unknown) = unknown.and_then(|place| self.texts.get(place)) {
            model = model.unk_token((*unknown).to_owned());
        }
        let mut tokenizer = Tokenizer::new(model.build().map_err(|error| error.to_string())?);
        let replace = |from: &str, to: &str| Replace::new(from, to).map_err(|error| error.to_string());
        let mut normalizers: Vec<NormalizerWrapper> = vec![replace(" ", SPACE)?.into()];
        let mut decoders: Vec<DecoderWrapper> =
            vec![replace(SPACE, " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
        if self.add_space_prefix {
            normalizers.insert(0, Prepend::new(SPACE.to_owned()).into());
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer
            .with_normalizer(Some(Normalizers::new(normalizers)))
            .with_decoder(Some(Decoders::new(decoders)));
        Ok(tokenizer)
    }

    /// Every pair of pieces whose texts make another's, those first that make the piece of the highest score: SentencePiece always joins
    /// the neighbours that do.
    fn merges(&self) -> Vec<(String, String)> {
        let is_merged = |(place, _): &(usize, &&str)| {
            self.kinds.get(*place).is_some_and(|kind| !NOT_MERGED.contains(kind))
        };
        let ids: HashMap<&str, usize> =
            self.texts.iter().enumerate().filter(is_merged).map(|(place, text)| (*text, place)).collect();
        let mut merges: Vec<(f64, usize, usize)> = Vec::new();
        for (text, &place) in &ids {
            let score = self.scores.get(place).copied().unwrap_or(f64::NEG_INFINITY);
            let halves = text.char_indices().skip(1).filter_map(|(middle, _)| {
                let (left, right) = text.split_at_checked(middle)?;
                Some((score, *ids.get(left)?, *ids.get(right)?))
            });
            merges.extend(halves);
        }
        merges.sort_by(|a, b| match b.0.total_cmp(&a.0) {
            Ordering::Equal => (a.1, a.2).cmp(&(b.1, b.2)),
            unequal => unequal,
        });
        let text = |place: usize| self.texts.get(place).map_or_else(String::new, |text| (*text).to_owned());
        merges.into_iter().map(|(_, left, right)| (text(left), text(right))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_FROM: usize = 3;

    /// Bytes, letters, and some words: the later, the lower is the score.
    fn texts() -> Vec<String> {
        let bytes = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"));
        let rest = ["▁a", "ab", "▁ab", "abc", "▁", "a", "b", "c", "é"].map(str::to_owned);
        ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(bytes).chain(rest).collect()
    }

    fn pieces<'a>(texts: &'a [&'a str], add_space_prefix: bool) -> Pieces<'a> {
        let kind = |place: usize| match place {
            0 => 2,
            1 | 2 => 3,
            _ if place < BYTES_FROM + 256 => 6,
            _ => 1,
        };
        let scores = (0..texts.len()).map(|place| -(place as f64)).collect();
        Pieces { texts, scores, kinds: (0..texts.len()).map(kind).collect(), add_space_prefix }
    }

    fn cut(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let encoding = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(encoding.get_ids(), false).unwrap(), text);
        encoding.get_tokens().to_vec()
    }

    #[test]
    fn the_neighbours_are_joined_first_that_make_the_best_piece() {
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokenizer = pieces(&texts, true).tokenizer().unwrap();
        // By score `▁a` comes before `ab`, which only `▁a` and `b` can make up for.
        assert_eq!(cut(&tokenizer, "ab"), ["▁ab"]);
        assert_eq!(cut(&tokenizer, "cabc"), ["▁", "c", "abc"]);
        assert_eq!(cut(&tokenizer, "abc ab"), ["▁ab", "c", "▁ab"]);
        assert_eq!(cut(&tokenizer, "é!"), ["▁", "é", "<0x21>"]);
        assert_eq!(cut(&tokenizer, "日"), ["▁", "<0xE6>", "<0x97>", "<0xA5>"]);
        assert_eq!(cut(&pieces(&texts, false).tokenizer().unwrap(), "ab ab"), ["ab", "▁ab"]);
    }

    #[test]
    fn without_bytes_what_is_unknown_is_one_token() {
        let texts: Vec<&str> = vec!["<unk>", "▁", "a"];
        let few =
            Pieces { texts: &texts, scores: vec![0.0; 3], kinds: vec![2, 1, 1], add_space_prefix: false };
        let encoding = few.tokenizer().unwrap().encode("a日本a", false).unwrap();
        assert_eq!(encoding.get_ids(), [2, 0, 2]);
        let lying = Pieces { scores: vec![0.0; 2], ..few };
        assert!(lying.tokenizer().unwrap_err().contains("3 tokens have 2 scores and 3 kinds"));
    }
}
