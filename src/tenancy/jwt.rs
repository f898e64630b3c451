//! Tokens of an identity provider (OpenID Connect) in place of keys: verified against the keys that their issuer publishes,
//! and saying which tenant their bearer is of.
//!
//! An issuer's keys are fetched when the first token comes, again when they are old or a token names one that is not
//! among them; while they cannot be had, those that there are go on to hold.

mod crypto;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Uri;
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::{
    DecodingKey, Validation,
    dangerous::insecure_decode_claims,
    decode, decode_header,
    jwk::{JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::AuthError;
use crate::{
    config::{JwtConfig, ModelConfig},
    upstream::{
        body::SegmentsBody,
        client::{Clients, HttpClient},
        tls::TlsError,
    },
};

/// How old keys may be before they are asked for again.
const KEYS_AGE_MAX: Duration = Duration::from_secs(300);
/// How soon they may be asked for again because a token names one that is not among them.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
/// For one answer of an issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any issuer publishes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// How far the issuer's clock may be from ours.
const LEEWAY_SECONDS: u64 = 60;
/// Longer than any token that fits a head.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Who signs tokens, and the keys by which that is seen.
pub struct Issuer {
    config: JwtConfig,
    client: HttpClient,
    keys: ArcSwap<Keys>,
    /// Held while they are fetched: once at a time.
    fetched: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Keys {
    at: Option<Instant>,
    all: Vec<Key>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithm: Option<jsonwebtoken::jwk::KeyAlgorithm>,
}

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The tenant.
    pub tenant: String,
    /// Its project, where the configuration says which claim names it.
    pub project: Option<String>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issuer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Whether a bearer's text has the form of a token: no key of ours has two dots and begins so.
#[must_use]
pub fn is_token(bearer: &str) -> bool {
    bearer.starts_with("eyJ")
        && bearer.len() <= TOKEN_BYTES_MAX
        && bearer.bytes().filter(|&byte| byte == b'.').count() == 2
}

impl Issuer {
    /// The issuer of a configuration; the same one for the same configuration, so that a reload forgets no keys.
    ///
    /// # Errors
    /// When there is no way to it.
    pub fn of(config: &JwtConfig, clients: &Clients) -> Result<Arc<Self>, TlsError> {
        static KNOWN: LazyLock<SyncMutex<HashMap<JwtConfig, Arc<Issuer>>>> =
            LazyLock::new(SyncMutex::default);
        crypto::install();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issuer) = known.get(config) {
            return Ok(Arc::clone(issuer));
        }
        let way = ModelConfig::new("jwt", config.jwks_url.clone().unwrap_or_else(|| config.issuer.clone()));
        let issuer = Arc::new(Self {
            config: config.clone(),
            client: clients.client(&way)?,
            keys: ArcSwap::default(),
            fetched: Mutex::default(),
        });
        known.insert(config.clone(), Arc::clone(&issuer));
        Ok(issuer)
    }

    /// Whether a token says that it is of this issuer. It may not be.
    #[must_use]
    pub fn is_named_by(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Named {
            iss: String,
        }
        insecure_decode_claims::<Named>(token).is_ok_and(|named| self.signs_as(&named.iss))
    }

    /// Some issuers end in a slash, which our URLs do not.
    fn signs_as(&self, issuer: &str) -> bool {
        issuer.strip_suffix('/').unwrap_or(issuer) == self.config.issuer.to_string()
    }

    /// Whom a token is for.
    ///
    /// # Errors
    /// When it is not of this issuer, not for us, not for now, or names no tenant; or when the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Bearer, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Unknown)?;
        let mut keys = self.keys(KEYS_AGE_MAX).await;
        if !keys.all.iter().any(|key| key.fits(header.kid.as_deref())) {
            keys = self.keys(REFETCH_AFTER).await;
        }
        if keys.at.is_none() {
            return Err(AuthError::Unverifiable);
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.config.audience]);
        let issuer = self.config.issuer.to_string();
        validation.set_issuer(&[format!("{issuer}/"), issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let of_token = |key: &&Key| key.fits(header.kid.as_deref()) && key.is_for(header.alg);
        let mut expired = false;
        for key in keys.all.iter().filter(of_token) {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(token) => return self.bearer(&token.claims),
                Err(error) => expired |= *error.kind() == jsonwebtoken::errors::ErrorKind::ExpiredSignature,
            }
        }
        Err(if expired { AuthError::Expired } else { AuthError::Unknown })
    }

    fn bearer(&self, claims: &Map<String, Value>) -> Result<Bearer, AuthError> {
        let named = |claim: &str| claims.get(claim).and_then(Value::as_str).map(str::to_owned);
        let tenant = named(&self.config.tenant_claim).ok_or(AuthError::Unknown)?;
        let project = self.config.project_claim.as_deref().and_then(named);
        Ok(Bearer { tenant, project })
    }

    /// The issuer's keys, fetched if those that there are have this age.
    async fn keys(&self, age_max: Duration) -> Arc<Keys> {
        let known = self.keys.load_full();
        if known.at.is_some_and(|at| at.elapsed() < age_max) {
            return known;
        }
        // Who comes while others fetch goes on with what there is, if there is anything.
        let mut fetched = match (self.fetched.try_lock(), known.at) {
            (Ok(fetched), _) => fetched,
            (Err(_), Some(_)) => return known,
            (Err(_), None) => self.fetched.lock().await,
        };
        // Somebody else may have tried meanwhile, with or without success.
        if fetched.is_some_and(|at| at.elapsed() < age_max.min(REFETCH_AFTER)) {
            return self.keys.load_full();
        }
        match self.fetch().await {
            Ok(all) => self.keys.store(Arc::new(Keys { at: Some(Instant::now()), all })),
            Err(why) => {
                tracing::warn!(issuer = %self.config.issuer, "the issuer's keys cannot be had: {why}");
            }
        }
        *fetched = Some(Instant::now());
        self.keys.load_full()
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        #[derive(Deserialize)]
        struct Discovery {
            jwks_uri: String,
        }
        let location = match &self.config.jwks_url {
            Some(url) => url.to_string(),
            None => {
                let discovery = format!("{}/.well-known/openid-configuration", self.config.issuer);
                let found: Discovery = serde_json::from_slice(&self.get(&discovery).await?)
                    .map_err(|error| error.to_string())?;
                // What vouches for tokens must be as safe as the issuer's own address.
                let scheme = discovery.split_once("://").map_or("", |(scheme, _)| scheme);
                if scheme == "https" && !found.jwks_uri.starts_with("https://") {
                    return Err(format!("{discovery} names keys that are not at an https:// address"));
                }
                found.jwks_uri
            }
        };
        let set: JwkSet =
            serde_json::from_slice(&self.get(&location).await?).map_err(|error| error.to_string())?;
        let signs = |usage: &Option<PublicKeyUse>| !matches!(usage, Some(PublicKeyUse::Encryption));
        let keys = set.keys.iter().filter(|key| signs(&key.common.public_key_use)).filter_map(|jwk| {
            // A key of a kind that is not known is no matter as long as no token is signed by it; a shared secret is none of ours.
            let key = DecodingKey::from_jwk(jwk)
                .ok()
                .filter(|key| key.family() != jsonwebtoken::AlgorithmFamily::Hmac)?;
            Some(Key { id: jwk.common.key_id.clone(), key, algorithm: jwk.common.key_algorithm })
        });
        Ok(keys.collect())
    }

    async fn get(&self, location: &str) -> Result<Vec<u8>, String> {
        let uri: Uri = location.parse().map_err(|_| format!("{location} is no URL"))?;
        let mut request = http::Request::new(SegmentsBody(std::collections::VecDeque::new()));
        *request.uri_mut() = uri;
        let fetching = async {
            let response = self.client.request(request).await.map_err(|error| error.to_string())?;
            if !response.status().is_success() {
                return Err(format!("{location} answers with status {}", response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
            body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
        };
        timeout(FETCH_TIMEOUT, fetching)
            .await
            .unwrap_or_else(|_| Err(format!("{location} does not answer in time")))
    }
}

impl Key {
    /// Whether a token that names this key may be signed by it; one that names none may be by any.
    fn fits(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.id.as_deref() == Some(id))
    }

    fn is_for(&self, algorithm: jsonwebtoken::Algorithm) -> bool {
        let named = self.algorithm.and_then(|named| named.to_string().parse().ok());
        named.is_none_or(|named: jsonwebtoken::Algorithm| named == algorithm)
            && self.key.family() == algorithm.family()
    }
}
