//! How a request is given a model: by a router and a rule, or by a list.

use std::path::PathBuf;
use std::time::Duration;

use super::delivery::Delivery;
use super::probability::Probability;
use super::served::ServedConfig;

/// One entry of `routes`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfig {
    /// How a request is given a model.
    pub choice: RouteChoice,
    /// How it is brought there.
    pub delivery: Delivery,
}

impl RouteConfig {
    /// A route that chooses so and delivers as usual.
    #[must_use]
    pub fn new(choice: RouteChoice) -> Self {
        Self { choice, delivery: Delivery::default() }
    }

    /// The route that exists as `auto` where the file has no `routes`.
    #[must_use]
    pub fn standard() -> Self {
        Self::new(RouteChoice::Routed(RoutedConfig::standard()))
    }
}

/// How a request is given a model.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteChoice {
    /// A router scores the candidates and a rule chooses.
    Routed(RoutedConfig),
    /// No router: these models in this order, the rest as fallbacks.
    Static {
        /// Names of `models`, at least one, no two equal.
        models: Vec<String>,
    },
}

/// A route with a router.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutedConfig {
    /// What scores the candidates.
    pub router: RouterKind,
    /// The router's artefact; the one that ships in the binary when absent.
    pub artifact: Option<PathBuf>,
    /// What reads texts for the router.
    pub embedder: EmbedderConfig,
    /// What chooses among the scored.
    pub selection: Selection,
    /// How long a decision may take before the tenant's default model answers.
    pub timeout: Duration,
    /// Which part of the conversation is scored.
    pub text: RoutingText,
}

impl RoutedConfig {
    /// How long a decision may take where the file does not say.
    pub const TIMEOUT: Duration = Duration::from_millis(50);

    /// How long a decision may take where the file does not say: by a router in another process longer than by one in this.
    #[must_use]
    pub fn timeout_of_kind(&self) -> Duration {
        match self.embedder {
            EmbedderConfig::Served(_) => self.router.timeout().max(Duration::from_millis(500)),
            _ => self.router.timeout(),
        }
    }

    /// What there is where the file says nothing: half of the calibration sample goes to the dearest model.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            router: RouterKind::Mf,
            artifact: None,
            embedder: EmbedderConfig::Static,
            selection: Selection::StrongShare(Probability::HALF),
            timeout: Self::TIMEOUT,
            text: RoutingText::LastUser,
        }
    }
}

/// What reads texts for a router.
#[derive(Debug, Clone, PartialEq)]
pub enum EmbedderConfig {
    /// The table in the binary.
    Static,
    /// The sentence encoder in this folder.
    Encoder(PathBuf),
    /// No vector: the language model in this folder or GGUF file is asked about the candidates.
    Decoder(PathBuf),
    /// Another process.
    Served(Box<ServedConfig>),
}

/// The routers there are. Those that no artefact ships of in the binary need one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouterKind {
    /// Matrix factorisation.
    Mf,
    /// Battles weighted by their prompts' similarity.
    Sw,
    /// A linear head on a sentence encoder.
    Bert,
    /// The outcomes of the nearest prompts.
    Knn,
    /// The outcomes of the prompt's cluster.
    Kmeans,
    /// The mean of several routers' skills.
    Blend,
    /// A language model that is asked about each candidate.
    Causal,
    /// A hash of the text.
    Random,
    /// The global ratings, whatever the prompt.
    BestSingle,
}

impl RouterKind {
    /// Every router, in the order in which they are listed to people.
    pub const ALL: [Self; 9] = [
        Self::Mf,
        Self::Sw,
        Self::Bert,
        Self::Knn,
        Self::Kmeans,
        Self::Blend,
        Self::Causal,
        Self::Random,
        Self::BestSingle,
    ];

    /// Its name in files, in `router-<name>-<threshold>` and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mf => "mf",
            Self::Sw => "sw",
            Self::Bert => "bert",
            Self::Knn => "knn",
            Self::Kmeans => "kmeans",
            Self::Blend => "blend",
            Self::Causal => "causal",
            Self::Random => "random",
            Self::BestSingle => "best_single",
        }
    }

    /// Whether it reads the text by way of an embedding.
    #[must_use]
    pub const fn reads_embeddings(self) -> bool {
        !matches!(self, Self::Causal | Self::Random | Self::BestSingle)
    }

    /// How long a decision may take where the file does not say: language models take longer than the others.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        match self {
            Self::Causal => Duration::from_secs(2),
            _ => RoutedConfig::TIMEOUT,
        }
    }

    /// The router of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What chooses among scored candidates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// The dearest candidate that beats every cheaper one with this probability.
    Threshold(Probability),
    /// The threshold at which this share of the calibration sample goes to the pool's dearest model.
    StrongShare(Probability),
    /// Win probability minus this much per USD; not negative, finite.
    Utility(f64),
    /// The threshold at which a thousand requests cost this many USD on average; above zero, finite.
    BudgetUsdPer1k(f64),
}

/// Which part of a conversation a router reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutingText {
    /// The last user turn, with earlier user turns before it.
    LastUser,
    /// The first user turn.
    FirstUser,
    /// All user and assistant turns.
    Conversation,
}
