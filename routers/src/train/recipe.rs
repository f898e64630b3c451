//! The kinds of routers that can be trained, and the settings that each has.

/// A kind of router to train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// A last layer on a frozen encoder.
    Bert,
    /// Several routers heard together.
    Blend,
    /// A fit for each cluster of the prompts.
    Kmeans {
        /// Clusters, if there are as many prompts.
        clusters: usize,
    },
    /// The nearest known prompts.
    Knn {
        /// k, the prompts that count.
        neighbours: usize,
    },
    /// Matrix factorisation.
    Mf {
        /// Hidden dimensions.
        rank: usize,
    },
    /// Similarity-weighted Bradley–Terry.
    Sw,
}

impl Recipe {
    /// Clusters of `kmeans`, usually.
    pub const CLUSTERS: usize = 25;
    /// Neighbours of `knn`, usually.
    pub const NEIGHBOURS: usize = 100;
    /// The rank of `mf` that was chosen on held-out prompts.
    pub const RANK: usize = 48;

    /// The recipe of a kind with its usual settings; `None` for a kind that is not trained.
    #[must_use]
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            "bert" => Some(Self::Bert),
            "blend" => Some(Self::Blend),
            "kmeans" => Some(Self::Kmeans { clusters: Self::CLUSTERS }),
            "knn" => Some(Self::Knn { neighbours: Self::NEIGHBOURS }),
            "mf" => Some(Self::Mf { rank: Self::RANK }),
            "sw" => Some(Self::Sw),
            _ => None,
        }
    }
}
