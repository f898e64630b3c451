//! The address of an upstream.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// An `http` or `https` URL that paths are appended to: no user, no query, no fragment, no trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpBaseUrl {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl HttpBaseUrl {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and, where one was written, port.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The path, without a trailing slash: empty, or begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for HttpBaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(formatter, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for HttpBaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HttpBaseUrl({self})")
    }
}

impl FromStr for HttpBaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::NoScheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(BaseUrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        if rest.contains('?') {
            return Err(BaseUrlError::Query);
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(BaseUrlError::NoHost);
        }
        let uri: Uri = text.parse().map_err(|_| BaseUrlError::Malformed)?;
        let authority = uri.authority().ok_or(BaseUrlError::NoHost)?.clone();
        if authority.port_u16().is_none() && authority.as_str().rsplit(']').next().unwrap_or("").contains(':')
        {
            return Err(BaseUrlError::Port);
        }
        Ok(Self { scheme, authority, path: uri.path().trim_end_matches('/').to_owned() })
    }
}

/// Why a text is not the base URL of an upstream. The text itself is never part of the message: it may hold a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// No `://`.
    #[error("has no scheme")]
    NoScheme,
    /// Another scheme than HTTP's.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// No host.
    #[error("has no host")]
    NoHost,
    /// A port outside 0..=65535.
    #[error("has a port that is no port number")]
    Port,
    /// User name or password.
    #[error("must not carry a user name or password")]
    UserInfo,
    /// A query.
    #[error("must not carry a query")]
    Query,
    /// A fragment.
    #[error("must not carry a fragment")]
    Fragment,
    /// Characters that a URL cannot hold.
    #[error("is not a URL")]
    Malformed,
}
