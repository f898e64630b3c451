//! TLS on the clients' listener.

use std::sync::Arc;

use rustls::{ServerConfig, server::WebPkiClientVerifier};

use crate::{
    config::ListenerTls,
    upstream::tls::{TlsError, authorities, certificates, private_key},
};

/// What the listener shows and asks for; it offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When the certificate or the key cannot be read, or do not belong together.
pub fn server_config(tls: &ListenerTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(authorities(file)?);
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots, provider).build()?,
            )
        }
    };
    let mut config = builder.with_single_cert(certificates(&tls.cert)?, private_key(&tls.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
