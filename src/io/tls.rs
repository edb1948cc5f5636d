//! TLS of the client side: whom we trust, and a session over rustls's unbuffered interface, whose
//! record buffer is ours and whose plaintext goes straight into the caller's.
//!
//! What rustls allocates (one block a record, each way) runs inside `alloc::tls_scope`, counted
//! apart.

use crate::io::alloc::tls_scope;
use crate::io::out_buffer::OutBuffer;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// Ciphertext held at once, bytes: four of the largest records, or a long certificate chain.
pub const TLS_IN_SIZE: usize = 72 * 1024;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Mozilla's roots, compiled in.
    WebRoots,
    /// The certificates of one PEM file and no others: the in-repo exchange's own authority.
    CaFile(PathBuf),
}

/// Why TLS could not be set up.
#[derive(Debug)]
pub enum TrustError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    /// No certificate in the file, or one that is not one.
    NoCertificate {
        path: PathBuf,
    },
    Tls(rustls::Error),
}
impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustError::Read { path, error } => {
                write!(f, "CA file {}: {error}", path.display())
            }
            TrustError::NoCertificate { path } => {
                write!(f, "CA file {} holds no readable PEM certificate", path.display())
            }
            TrustError::Tls(error) => write!(f, "TLS: {error}"),
        }
    }
}

/// The certificates of a trust file, in DER.
///
/// # Errors
/// `TrustError` where the file cannot be read or holds none.
pub(crate) fn ca_certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem =
        std::fs::read(path).map_err(|error| TrustError::Read { path: path.clone(), error })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(TrustError::NoCertificate { path: path.clone() }),
    }
}

/// TLS 1.3 and 1.2 with ring's primitives. One config serves every connection to the same venue, so
/// that sessions can be resumed.
///
/// # Errors
/// `TrustError`.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::WebRoots => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Trust::CaFile(path) => {
            for certificate in ca_certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|_| TrustError::NoCertificate { path: path.clone() })?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why a session ended.
#[derive(Debug)]
pub enum TlsError {
    Tls(rustls::Error),
    /// A handshake message longer than `TLS_IN_SIZE`, or more to say than the outgoing buffer
    /// holds.
    TooLong,
    /// Asked to encrypt before the handshake was done.
    NotReady,
}
impl From<TlsError> for io::Error {
    /// Allocates: for the end of a connection only.
    fn from(error: TlsError) -> io::Error {
        match error {
            TlsError::Tls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            TlsError::TooLong => io::Error::from(io::ErrorKind::InvalidData),
            TlsError::NotReady => io::Error::from(io::ErrorKind::NotConnected),
        }
    }
}

/// What `pump` came to.
enum Pumped {
    /// Everything complete is decrypted; more bytes are needed.
    Ready,
    Handshaking,
}

/// One client connection: ciphertext in, plaintext out, and the other way round; no socket of its
/// own.
pub(crate) struct TlsSession {
    conn: UnbufferedClientConnection,
    incoming: Box<[u8]>,
    /// Ciphertext not processed yet: `incoming[start..end]`.
    start: usize,
    end: usize,
    /// Decrypted bytes the caller's buffer had no room for: `spill[spill_at..]`.
    spill: Vec<u8>,
    spill_at: usize,
    /// What is in `incoming` is not a whole record.
    starved: bool,
    /// The peer said goodbye.
    closed: bool,
}

impl TlsSession {
    /// `host` is the name the certificate must carry.
    ///
    /// # Errors
    /// Where the name is neither a DNS name nor an address.
    pub(crate) fn new(config: Arc<ClientConfig>, host: &str) -> Result<TlsSession, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Tls(rustls::Error::General("not a server name".to_owned())))?;
        Ok(TlsSession {
            conn: UnbufferedClientConnection::new(config, name).map_err(TlsError::Tls)?,
            incoming: vec![0; TLS_IN_SIZE].into_boxed_slice(),
            start: 0,
            end: 0,
            spill: Vec::with_capacity(TLS_IN_SIZE),
            spill_at: 0,
            starved: false,
            closed: false,
        })
    }
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
    /// Decrypted bytes wait that no socket will announce.
    pub(crate) fn has_plaintext(&self) -> bool {
        self.spill_at < self.spill.len() || (self.start < self.end && !self.starved && !self.closed)
    }
    /// One step of the handshake; true when it is done. What must be sent is put into `out`.
    ///
    /// # Errors
    /// `TlsError`: the connection is useless then.
    pub(super) fn handshake(&mut self, out: &mut OutBuffer) -> Result<bool, TlsError> {
        let (_, pumped) = self.pump(&mut [], out)?;
        Ok(matches!(pumped, Pumped::Ready))
    }
    /// Reads ciphertext from `source` once. 0 = end of stream.
    ///
    /// # Errors
    /// The source's, `WouldBlock` among them, or `InvalidData` for a message longer than the
    /// buffer.
    #[inline]
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.incoming.len() {
            self.incoming.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.incoming.len() {
                return Err(TlsError::TooLong.into());
            }
        }
        let count = source.read(&mut self.incoming[self.end..])?;
        self.end += count;
        self.starved &= count == 0;
        Ok(count)
    }
    /// Decrypts what is there into `plain`; how many bytes. 0 = more ciphertext is needed, or the
    /// peer closed.
    ///
    /// # Errors
    /// `TlsError`: the connection is useless then.
    #[inline]
    pub(super) fn decrypt(
        &mut self,
        plain: &mut [u8],
        out: &mut OutBuffer,
    ) -> Result<usize, TlsError> {
        if self.spill_at < self.spill.len() {
            let count = plain.len().min(self.spill.len() - self.spill_at);
            plain[..count].copy_from_slice(&self.spill[self.spill_at..self.spill_at + count]);
            self.spill_at += count;
            if self.spill_at == self.spill.len() {
                self.spill.clear();
                self.spill_at = 0;
            }
            return Ok(count);
        }
        if self.start == self.end || self.starved || self.closed {
            return Ok(0);
        }
        Ok(self.pump(plain, out)?.0)
    }
    /// Encrypts `data` into `out`, whole or not at all.
    ///
    /// # Errors
    /// `TooLong` where it does not fit: nothing was taken. Else the connection is useless.
    #[inline]
    pub(super) fn encrypt(&mut self, data: &[u8], out: &mut OutBuffer) -> Result<(), TlsError> {
        tls_scope(|| {
            loop {
                let status =
                    self.conn.process_tls_records(&mut self.incoming[self.start..self.end]);
                let UnbufferedStatus { discard, state } = status;
                match state.map_err(TlsError::Tls)? {
                    ConnectionState::WriteTraffic(mut traffic) => {
                        let result = traffic.encrypt(data, out.spare());
                        self.start += discard;
                        return match result {
                            Ok(count) => {
                                out.advance(count);
                                Ok(())
                            }
                            Err(EncryptError::InsufficientSize(_)) => Err(TlsError::TooLong),
                            Err(EncryptError::EncryptExhausted) => {
                                Err(TlsError::Tls(rustls::Error::EncryptError))
                            }
                        };
                    }
                    // Input that came in between is kept for the next read.
                    ConnectionState::ReadTraffic(mut traffic) => {
                        while let Some(record) = traffic.next_record() {
                            let record = record.map_err(TlsError::Tls)?;
                            self.spill.extend_from_slice(record.payload);
                        }
                    }
                    ConnectionState::EncodeTlsData(mut data) => {
                        encode(&mut data, out)?;
                    }
                    ConnectionState::TransmitTlsData(data) => data.done(),
                    ConnectionState::PeerClosed => self.closed = true,
                    _ => return Err(TlsError::NotReady),
                }
                self.start += discard;
            }
        })
    }

    fn pump(&mut self, plain: &mut [u8], out: &mut OutBuffer) -> Result<(usize, Pumped), TlsError> {
        let mut filled = 0;
        tls_scope(|| {
            loop {
                let status =
                    self.conn.process_tls_records(&mut self.incoming[self.start..self.end]);
                let UnbufferedStatus { mut discard, state } = status;
                let mut end = None;
                match state.map_err(TlsError::Tls)? {
                    ConnectionState::ReadTraffic(mut traffic) => {
                        while let Some(record) = traffic.next_record() {
                            let record = record.map_err(TlsError::Tls)?;
                            discard += record.discard;
                            let fits = record.payload.len().min(plain.len() - filled);
                            let (now, later) = record.payload.split_at(fits);
                            plain[filled..filled + fits].copy_from_slice(now);
                            filled += fits;
                            self.spill.extend_from_slice(later);
                        }
                        if filled == plain.len() {
                            // The rest of `incoming` waits for the next call.
                            end = Some(Pumped::Ready);
                        }
                    }
                    ConnectionState::WriteTraffic(_) => {
                        self.starved = true;
                        end = Some(Pumped::Ready);
                    }
                    ConnectionState::BlockedHandshake => {
                        self.starved = true;
                        end = Some(Pumped::Handshaking);
                    }
                    ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out)?,
                    ConnectionState::TransmitTlsData(data) => data.done(),
                    ConnectionState::PeerClosed | ConnectionState::Closed => {
                        self.closed = true;
                        end = Some(Pumped::Ready);
                    }
                    _ => return Err(TlsError::NotReady),
                }
                self.start += discard;
                if let Some(pumped) = end {
                    return Ok((filled, pumped));
                }
            }
        })
    }
}

fn encode(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, rustls::client::ClientConnectionData>,
    out: &mut OutBuffer,
) -> Result<(), TlsError> {
    match data.encode(out.spare()) {
        Ok(count) => {
            out.advance(count);
            Ok(())
        }
        Err(EncodeError::InsufficientSize(_)) => Err(TlsError::TooLong),
        Err(EncodeError::AlreadyEncoded) => Err(TlsError::NotReady),
    }
}

/// An authority, a certificate for `localhost` and 127.0.0.1, and the server side of a connection,
/// for tests.
#[cfg(test)]
pub(crate) mod test_server {
    use super::*;
    use crate::io::files::TestDir;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::PrivateKeyDer;
    use std::net::TcpStream;

    pub(crate) struct TestAuthority {
        pub(crate) trust: Trust,
        pub(crate) server: Arc<ServerConfig>,
        _dir: TestDir,
    }
    pub(crate) fn authority() -> TestAuthority {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issuer = Issuer::new(ca_params, ca_key);
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let dir = TestDir::new("ca");
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, ca.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TestAuthority { trust: Trust::CaFile(path), server: Arc::new(server), _dir: dir }
    }
    pub(crate) fn accept(
        config: &Arc<ServerConfig>,
        tcp: TcpStream,
    ) -> StreamOwned<ServerConnection, TcpStream> {
        StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;

    #[test]
    fn a_ca_file_that_is_absent_or_holds_no_certificate_is_named() {
        let dir = TestDir::new("trust");
        let path = dir.path().join("ca.pem");
        let error = client_config(&Trust::CaFile(path.clone())).unwrap_err();
        assert!(matches!(error, TrustError::Read { .. }));
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            std::fs::write(&path, text).unwrap();
            let error = client_config(&Trust::CaFile(path.clone())).unwrap_err();
            assert!(matches!(error, TrustError::NoCertificate { .. }), "{text:?}");
        }
        assert!(client_config(&Trust::WebRoots).is_ok());
    }
}
