//! The closed vocabularies of metric labels.

use crate::budget::OverBudget;

/// How a request ended; exactly one per request (law 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer was given.
    Ok,
    /// The client's request was at fault.
    ClientError,
    /// A limit of the gateway, of the tenant, or the upstream's rate limit.
    Limited,
    /// The gateway was at fault.
    GatewayError,
    /// No upstream gave a whole answer.
    UpstreamError,
    /// The client left.
    Cancelled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::ClientError,
        Self::Limited,
        Self::GatewayError,
        Self::UpstreamError,
        Self::Cancelled,
    ];

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Limited => "limited",
            Self::GatewayError => "gateway_error",
            Self::UpstreamError => "upstream_error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<&OverBudget> for Outcome {
    /// Of a request that a budget does not allow, or cannot be asked for.
    fn from(over_budget: &OverBudget) -> Self {
        if over_budget.is_known() { Self::Limited } else { Self::GatewayError }
    }
}

/// A limit of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Requests in flight.
    Concurrency,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrency];

    /// Its label; the `type` of the error object, too.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }
}

/// What a route's cache was to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// It had the answer.
    Hit,
    /// It did not.
    Miss,
    /// It was not asked: the client did not want it to be, or the request is none that answers are kept for.
    Bypass,
}

impl CacheUse {
    /// Every use.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Bypass];

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Why the usage of an answer had to be estimated: no report of it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimated {
    /// The answer is whole, and the upstream does not report usage.
    Missing,
    /// The answer broke off.
    Truncated,
    /// The client left.
    Cancelled,
}

impl Estimated {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Truncated, Self::Cancelled];

    /// The reason that an end like this gives.
    #[must_use]
    pub const fn after(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Missing,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::ClientError | Outcome::Limited | Outcome::GatewayError | Outcome::UpstreamError => {
                Self::Truncated
            }
        }
    }

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Truncated => "truncated",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a router did not decide, and the tenant's default model answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOpen {
    /// It took longer than the route allows.
    Timeout,
    /// Its queue was full.
    Overloaded,
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// No candidate is described by its artefact.
    Unrated,
}

impl FailOpen {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Timeout, Self::Overloaded, Self::Error, Self::Panic, Self::Unrated];

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Unrated => "unrated",
        }
    }
}
