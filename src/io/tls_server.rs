//! The certificate of the in-repo exchange: its own authority, made at start, for loopback names
//! only.
//!
//! Nothing here is trusted by anybody who was not handed the authority's PEM, and the authority's
//! key stays in memory unless a key file is named. A key file lets an exchange that was restarted
//! present certificates of the same authority, so that clients need not fetch the PEM again.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names a certificate of the exchange is good for.
pub const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// What a TLS server on loopback needs.
#[derive(Clone)]
pub struct ServerTls {
    /// For `rustls::ServerConnection::new`.
    pub config: Arc<rustls::ServerConfig>,
    /// The authority's certificate, for clients to trust.
    pub ca_pem: String,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Why no certificate could be made.
#[derive(Debug)]
pub enum ServerTlsError {
    /// The key file cannot be read or written.
    KeyFile { path: PathBuf, cause: io::Error },
    /// The key file is there but holds no usable key.
    KeyUnusable { path: PathBuf },
    /// A certificate could not be made.
    Certificate(rcgen::Error),
    /// The TLS library refused the certificate.
    Tls(rustls::Error),
}

impl fmt::Display for ServerTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile { path, cause } => write!(
                f,
                "TLS key file {}: {cause}; expected a file this user can read and write: \
                 name another place",
                path.display()
            ),
            Self::KeyUnusable { path } => write!(
                f,
                "TLS key file {}: it holds no PKCS#8 private key; expected the file written by an \
                 earlier run: move it away and a new one is made",
                path.display()
            ),
            Self::Certificate(cause) => write!(f, "no TLS certificate could be made: {cause}"),
            Self::Tls(cause) => write!(f, "the TLS library refused the certificate: {cause}"),
        }
    }
}

impl std::error::Error for ServerTlsError {}

impl ServerTls {
    /// A new authority in memory, and a certificate for [`LOOPBACK_NAMES`] signed by it.
    ///
    /// # Errors
    /// `Certificate` or `Tls`: the machine gives no random numbers, in practice never.
    pub fn generate() -> Result<Self, ServerTlsError> {
        Self::from_key(KeyPair::generate().map_err(ServerTlsError::Certificate)?)
    }

    /// As [`Self::generate`], with the authority's key kept in `path` (made with mode 0600 where
    /// absent).
    ///
    /// # Errors
    /// Any [`ServerTlsError`].
    pub fn generate_with_key_file(path: &Path) -> Result<Self, ServerTlsError> {
        let failed = |cause| ServerTlsError::KeyFile { path: path.to_owned(), cause };
        let key = match std::fs::read_to_string(path) {
            Ok(pem) => KeyPair::from_pem(&pem)
                .map_err(|_| ServerTlsError::KeyUnusable { path: path.to_owned() })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(ServerTlsError::Certificate)?;
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create_new(true);
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(path).map_err(failed)?;
                file.write_all(key.serialize_pem().as_bytes()).map_err(failed)?;
                key
            }
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                return Err(ServerTlsError::KeyUnusable { path: path.to_owned() });
            }
            Err(cause) => return Err(failed(cause)),
        };
        Self::from_key(key)
    }

    fn from_key(ca_key: KeyPair) -> Result<Self, ServerTlsError> {
        // Clients match an authority by its name and key. Both are the same for one key file, so a
        // certificate made anew is still of the authority they know.
        let mut params = CertificateParams::new(Vec::new()).map_err(ServerTlsError::Certificate)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "genesis loopback authority");
        let ca = params.self_signed(&ca_key).map_err(ServerTlsError::Certificate)?;
        let issuer = Issuer::new(params, ca_key);

        let names: Vec<String> = LOOPBACK_NAMES.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(ServerTlsError::Certificate)?;
        params.distinguished_name.push(DnType::CommonName, "genesis loopback exchange");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(ServerTlsError::Certificate)?;
        let certificate = params.signed_by(&key, &issuer).map_err(ServerTlsError::Certificate)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Tls)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .map_err(ServerTlsError::Tls)?;
        Ok(Self { config: Arc::new(config), ca_pem: ca.pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};

    /// Handshake in memory: a client that trusts `trusted` against a server of `server`.
    fn handshake(trusted: &str, server: &ServerTls, name: &str) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = rustls::ServerConnection::new(server.config.clone()).unwrap();
        let mut bytes = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            bytes.clear();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn its_own_authority_is_trusted_for_loopback_names_only() {
        let server = ServerTls::generate().unwrap();
        for name in LOOPBACK_NAMES {
            handshake(&server.ca_pem, &server, name).unwrap();
        }
        handshake(&server.ca_pem, &server, "example.com").unwrap_err();
        let stranger = ServerTls::generate().unwrap();
        handshake(&stranger.ca_pem, &server, "localhost").unwrap_err();
    }

    #[test]
    fn a_key_file_keeps_the_authority_across_restarts() {
        let path = std::env::temp_dir().join(format!("genesis-tls-key-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let first = ServerTls::generate_with_key_file(&path).unwrap();
        let second = ServerTls::generate_with_key_file(&path).unwrap();
        handshake(&first.ca_pem, &second, "127.0.0.1").unwrap();
        std::fs::write(&path, b"nonsense").unwrap();
        let error = ServerTls::generate_with_key_file(&path).unwrap_err().to_string();
        assert!(error.contains("no PKCS#8 private key"), "{error}");
        let _ = std::fs::remove_file(&path);
    }
}
