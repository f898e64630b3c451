//! TLS on the clients' listener.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::{
    config::ListenerTls,
    upstream::tls::{TlsError, certificates, private_key},
};

/// An acceptor that offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When the certificate or the key cannot be read, or do not belong together.
pub fn acceptor(tls: &ListenerTls) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates(&tls.cert)?, private_key(&tls.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
