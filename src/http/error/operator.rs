//! Every way an operator's request can fail.

use http::StatusCode;

use crate::config::Diagnostics;

/// Why an operator's request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum OperatorFault {
    #[error("only who has one of the `admin_keys` may: send it as 'Authorization: Bearer KEY'")]
    Unauthorized,
    #[error("the configuration has no `admin_keys`: without one nobody may change keys from here")]
    NoKeys,
    #[error("there is no database: the configuration's `database` says where one is")]
    NoDatabase,
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unknown(String),
    #[error("{0}")]
    Taken(String),
    #[error("the tenant is not valid:\n{}", .0.to_string().trim_end())]
    Definition(Diagnostics),
    #[error("the database cannot be used: the log says why")]
    Database,
}

impl OperatorFault {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoKeys => StatusCode::FORBIDDEN,
            Self::NoDatabase | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Taken(_) => StatusCode::CONFLICT,
            Self::Definition(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Database => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The type of the error object.
    pub(super) fn kind(&self) -> &'static str {
        if *self == Self::Database { "server_error" } else { "invalid_request_error" }
    }

    /// A stable word for a program.
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Definition(_) => Some("invalid_tenant"),
            Self::Database => Some("database_unavailable"),
            _ => None,
        }
    }

    /// The first place of the body that is at fault.
    pub(super) fn param(&self) -> Option<&str> {
        let Self::Definition(found) = self else { return None };
        found.errors().next().map(|error| error.path.as_str()).filter(|place| !place.is_empty())
    }
}
