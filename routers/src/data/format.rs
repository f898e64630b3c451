//! The formats, and how to tell them apart by content.

mod keys;

/// A format of training or evaluation data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON object a line: `id, source, category?, prompt, scores: {model: 0..1}, out_chars?: {model: count}`.
    OutcomeLines,
    /// A JSON object a line: `source, prompt_id?, language?, prompt: [user turns], model_a, model_b, winner, judge?`.
    BattleLines,
    /// One JSON object: `models: [names], pairs: [[a, b]], counts: [[a wins, b wins, tie, tie (bothbad)]]`.
    VoteCounts,
    /// One JSON array of the Arena's battles without prompts: `model_a, model_b, winner, anony, dedup_tag, …`.
    CleanBattle,
    /// The Arena's 55k rows as CSV: `model_a, model_b, prompt, winner_model_a, winner_model_b, winner_tie, …`.
    ArenaCsv,
    /// The Arena's 33k, 100k or 140k rows as a JSON object a line: `model_a, model_b, winner, conversation_a, …`.
    ArenaLines,
    /// The same rows as Parquet.
    ArenaParquet,
}

/// What a file may hold, for messages.
pub(super) const ANY: &str = "outcome rows or battle rows (JSON lines), arena vote counts (JSON), clean_battle (a JSON \
                              array), arena rows (CSV with winner_model_a, JSON lines or Parquet with conversation_a)";

/// The first bytes of every Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// The mark that some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [
        Self::OutcomeLines,
        Self::BattleLines,
        Self::VoteCounts,
        Self::CleanBattle,
        Self::ArenaCsv,
        Self::ArenaLines,
        Self::ArenaParquet,
    ];

    /// The name that a user forces the format by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutcomeLines => "outcomes",
            Self::BattleLines => "battles",
            Self::VoteCounts => "votes",
            Self::CleanBattle => "clean-battle",
            Self::ArenaCsv => "arena-csv",
            Self::ArenaLines => "arena-lines",
            Self::ArenaParquet => "arena-parquet",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The source that rows belong to which name none.
    #[must_use]
    pub const fn default_source(self) -> &'static str {
        match self {
            Self::OutcomeLines => "outcomes",
            Self::BattleLines => "battles",
            Self::VoteCounts | Self::CleanBattle | Self::ArenaCsv | Self::ArenaLines | Self::ArenaParquet => {
                "chatbot_arena"
            }
        }
    }

    /// What a report's row numbers count.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::OutcomeLines | Self::BattleLines | Self::ArenaCsv | Self::ArenaLines => "line",
            Self::VoteCounts | Self::CleanBattle | Self::ArenaParquet => "row",
        }
    }

    /// Tells the format by the beginning of a file's (decompressed) content.
    ///
    /// A megabyte is enough unless a first row is longer than that.
    ///
    /// # Errors
    /// What the beginning looks like, when it is of no known format.
    pub fn detect(head: &[u8]) -> Result<Self, String> {
        let text = without_mark(head).trim_ascii_start();
        match text {
            _ if text.starts_with(PARQUET_MAGIC) => Ok(Self::ArenaParquet),
            [b'{', ..] => Self::of_object(&keys::of_first_object(text)),
            [b'[', rest @ ..] => Self::of_array(rest.trim_ascii_start()),
            _ => Self::of_header(text),
        }
    }

    /// The format of a file that starts with an object of these keys.
    fn of_object(keys: &[String]) -> Result<Self, String> {
        let has = |key: &str| keys.iter().any(|found| found == key);
        if has("scores") {
            Ok(Self::OutcomeLines)
        } else if has("model_a") && has("model_b") {
            Ok(if has("conversation_a") { Self::ArenaLines } else { Self::BattleLines })
        } else if has("models") && (has("pairs") || has("counts")) {
            Ok(Self::VoteCounts)
        } else {
            Err(format!("it starts with a JSON object with the keys [{}]", keys.join(", ")))
        }
    }

    /// The format of a file that starts with `[` and then this.
    fn of_array(rest: &[u8]) -> Result<Self, String> {
        let keys = keys::of_first_object(rest);
        let has = |key: &str| keys.iter().any(|found| found == key);
        if rest.starts_with(b"]") || (has("model_a") && has("model_b")) {
            Ok(Self::CleanBattle)
        } else if rest.starts_with(b"{") {
            Err(format!("it starts with a JSON array of objects with the keys [{}]", keys.join(", ")))
        } else {
            Err(format!("it starts with [{}", excerpt(rest)))
        }
    }

    /// The format of a file whose first line may be a CSV header.
    fn of_header(text: &[u8]) -> Result<Self, String> {
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let header = String::from_utf8_lossy(line);
        let has = |column: &str| header.split(',').any(|found| found.trim().trim_matches('"') == column);
        if has("model_a") && has("model_b") && has("winner_model_a") {
            Ok(Self::ArenaCsv)
        } else {
            Err(format!("it starts with {}", excerpt(text)))
        }
    }
}

/// The content behind a byte order mark.
pub(super) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content)
}

/// The first characters, fit for a message.
fn excerpt(text: &[u8]) -> String {
    let start: String = String::from_utf8_lossy(text.get(..40).unwrap_or(text)).into_owned();
    format!("{start:?}")
}

#[cfg(test)]
mod tests;
