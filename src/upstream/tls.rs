//! TLS towards upstreams: whom to trust, and what to show.

use std::{io, path::Path};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::UpstreamTls;

/// Why TLS towards an upstream could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read.
    #[error("cannot read {file}: {source}")]
    Pem {
        /// The file.
        file: String,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file could not be read at all.
    #[error("cannot read {file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A PEM file without what it should hold.
    #[error("{0} holds no certificate")]
    Empty(String),
    /// The system has no certificate authorities.
    #[error("the system's certificate authorities cannot be loaded: {0}")]
    SystemRoots(String),
    /// The authorities of clients cannot be used.
    #[error("the authorities of `client_ca` cannot be used: {0}")]
    ClientAuthorities(#[from] rustls::server::VerifierBuilderError),
    /// rustls does not accept the material.
    #[error("TLS material refused: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The client configuration for an upstream.
///
/// # Errors
/// When a file cannot be read, or holds nothing that TLS can use.
pub fn client_config(tls: &UpstreamTls) -> Result<ClientConfig, TlsError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(tls.ca_file.as_deref())?);
    Ok(match &tls.client {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_auth_cert(certificates(&identity.cert)?, private_key(&identity.key)?)?
        }
    })
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(file) = ca_file {
        return authorities(file);
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Odd certificates in a system's store are common, and none of our business.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason =
            found.errors.first().map_or_else(|| io::ErrorKind::NotFound.to_string(), ToString::to_string);
        return Err(TlsError::SystemRoots(reason));
    }
    Ok(roots)
}

/// The authorities of a PEM file.
///
/// # Errors
/// When the file cannot be read, or holds none, or one that cannot be used.
pub fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, in its order.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::Pem { file: file.display().to_string(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(file.display().to_string()));
    }
    Ok(certificates)
}

/// The first private key of a PEM file.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|source| TlsError::Pem { file: file.display().to_string(), source })
}
