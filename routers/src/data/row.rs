//! One row of a file, whatever its format. Model names are canonical, prompts are as written.

/// What the readers hand to a visitor.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// Scores of models on one prompt.
    Outcome(OutcomeRow),
    /// One comparison of two models.
    Battle(BattleRow),
    /// Counted comparisons of two models, without prompts.
    Votes(VoteRow),
}

/// The scores that models reached on one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeRow {
    /// The row's name in its source; empty when it has none.
    pub id: String,
    /// The source, as the row names it.
    pub source: String,
    /// The task or subject, if the source has any.
    pub category: Option<String>,
    /// The language, if the source says.
    pub language: Option<String>,
    /// The user's turns, at least one.
    pub turns: Vec<String>,
    /// The runs, at least one; a model that ran several times (or at several providers) occurs several times.
    pub runs: Vec<Run>,
}

/// One run of one model on one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Canonical name.
    pub model: String,
    /// The score reached, 0..=1.
    pub score: f64,
    /// Length of the answer in characters.
    pub out_chars: Option<f64>,
}

/// One comparison of two answers to one prompt, in the order in which they were presented.
#[derive(Debug, Clone, PartialEq)]
pub struct BattleRow {
    /// The source, as the row names it.
    pub source: String,
    /// The prompt's name in its source.
    pub prompt_id: Option<String>,
    /// The language, if the source says.
    pub language: Option<String>,
    /// The user's turns; empty when the source gives none.
    pub turns: Vec<String>,
    /// Canonical name of the model whose answer stood first.
    pub model_a: String,
    /// Canonical name of the model whose answer stood second; never that of the first.
    pub model_b: String,
    /// Who won.
    pub verdict: Verdict,
    /// The model that judged; `None` when people did.
    pub judge: Option<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The first answer is better.
    A,
    /// The second answer is better.
    B,
    /// Both are as good.
    Tie,
    /// Both are as bad.
    TieBothBad,
}

impl Verdict {
    /// The first model's share of the win: 1, 0, or ½ for either kind of tie.
    #[must_use]
    pub const fn share_of_a(self) -> f64 {
        match self {
            Self::A => 1.0,
            Self::B => 0.0,
            Self::Tie | Self::TieBothBad => 0.5,
        }
    }

    /// One vote, as [`VoteRow::counts`] has it.
    #[must_use]
    pub const fn counts(self) -> [u64; 4] {
        match self {
            Self::A => [1, 0, 0, 0],
            Self::B => [0, 1, 0, 0],
            Self::Tie => [0, 0, 1, 0],
            Self::TieBothBad => [0, 0, 0, 1],
        }
    }

    /// Reads the spellings in use: `model_a`, `model_b`, `tie`, and `tie (bothbad)` or `both_bad`.
    #[must_use]
    pub fn parse(winner: &str) -> Option<Self> {
        match winner {
            "model_a" => Some(Self::A),
            "model_b" => Some(Self::B),
            "tie" => Some(Self::Tie),
            "tie (bothbad)" | "tie(bothbad)" | "bothbad" | "both_bad" => Some(Self::TieBothBad),
            _ => None,
        }
    }
}

/// Counted comparisons of two models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRow {
    /// Canonical name.
    pub model_a: String,
    /// Canonical name; never that of the first.
    pub model_b: String,
    /// Wins of the first, wins of the second, ties, ties of two bad answers.
    pub counts: [u64; 4],
}
