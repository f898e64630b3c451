//! GET with redirects: what the hub says on the way, and the answer at its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Checksum, PullError, RepositoryName, location};
use crate::config::{HttpBaseUrl, Scheme, UpstreamTls};
use crate::secret::Secret;
use crate::upstream::egress::{Deadline, Egress};
use crate::upstream::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The hub looks large files up before it answers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 8;

/// What a revision may not hold as it is.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'/').add(b'<').add(b'>').add(b'?').add(b'`');

static LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");

/// A client of one hub.
pub(super) struct HubClient {
    http: Client<Deadline<HttpsConnector<Egress>>, Empty<Bytes>>,
    proxies: Arc<Matcher>,
    /// Shown to this server and to no other.
    authorization: Option<HeaderValue>,
    home: (Scheme, String),
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HubClient")
    }
}

/// The answer at the end of the redirects.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    /// Who gave it.
    pub(super) host: String,
    /// The content's checksum, where the hub named one on the way.
    pub(super) checksum: Option<Checksum>,
}

/// Why there is no answer.
pub(super) enum Fault {
    /// Another attempt may succeed.
    Passing(String),
    /// It will not.
    Lasting(PullError),
}

impl HubClient {
    pub(super) fn new(
        endpoint: &HttpBaseUrl,
        token: Option<&Secret>,
        proxies: Matcher,
    ) -> Result<Self, PullError> {
        let proxies = Arc::new(proxies);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&UpstreamTls::default())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Egress::new(Arc::clone(&proxies), CONNECT_TIMEOUT));
        let bearer = |token: &Secret| {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| PullError::Token)?;
            value.set_sensitive(true);
            Ok::<_, PullError>(value)
        };
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(Deadline::new(connector, CONNECT_TIMEOUT)),
            proxies,
            authorization: token.map(bearer).transpose()?,
            home: (endpoint.scheme(), endpoint.authority().to_string()),
        })
    }

    /// Where a hub keeps a file.
    pub(super) fn uri(
        &self,
        endpoint: &HttpBaseUrl,
        name: &RepositoryName,
        revision: &str,
        file: &str,
    ) -> Result<Uri, PullError> {
        let revision = utf8_percent_encode(revision, RESERVED);
        let text = format!("{endpoint}/{name}/resolve/{revision}/{file}");
        text.parse().map_err(|_| PullError::Url(text))
    }

    /// Asks for a file, and follows where that leads.
    pub(super) async fn get(&self, uri: &Uri, more: &HeaderMap, file: &'static str) -> Result<Answer, Fault> {
        let mut uri = uri.clone();
        let mut checksum = None;
        for _ in 0..=REDIRECTS_MAX {
            let host = uri.host().unwrap_or_default().to_owned();
            let response = self.once(&uri, more).await?;
            let named = response.headers().get(&LINKED_ETAG).and_then(|value| value.to_str().ok());
            checksum = checksum.or_else(|| named.and_then(|etag| etag.trim_matches('"').parse().ok()));
            if !is_redirect(response.status()) {
                return Ok(Answer { response, host, checksum });
            }
            let to = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            uri = to.and_then(|to| location::resolve(&uri, to)).ok_or_else(|| {
                let what = "a redirect that leads nowhere, or away from https".to_owned();
                Fault::Lasting(PullError::Answer { host, what, file })
            })?;
        }
        let host = uri.host().unwrap_or_default().to_owned();
        let what = format!("more than {REDIRECTS_MAX} redirects");
        Err(Fault::Lasting(PullError::Answer { host, what, file }))
    }

    async fn once(&self, uri: &Uri, more: &HeaderMap) -> Result<Response<Incoming>, Fault> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        // Ranges count the bytes of the file, not of a compressed form of it.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("pointsman/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = self.authorization.as_ref().filter(|_| self.is_home(uri)) {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        if uri.scheme() == Some(&http::uri::Scheme::HTTP)
            && let Some(proxy) = self.proxies.intercept(uri)
            && let Some(credentials) = proxy.basic_auth()
        {
            headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
        }
        match tokio::time::timeout(HEAD_TIMEOUT, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Fault::Passing(causes(&error))),
            Err(_) => Err(Fault::Passing(format!("no answer within {} s", HEAD_TIMEOUT.as_secs()))),
        }
    }

    fn is_home(&self, uri: &Uri) -> bool {
        let scheme = match self.home.0 {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        uri.scheme_str() == Some(scheme)
            && uri.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(&self.home.1))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// An error and what caused it, in a line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
