//! The client's side of TLS: whom to trust and what to show.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{NetError, TlsConfig, TlsVersion};

/// The times of the files and what was made of them.
type Built = (Vec<Option<SystemTime>>, Arc<ClientConfig>);

/// Makes rustls' configuration from ours, and anew when one of the files has changed.
#[derive(Debug)]
pub(super) struct TlsSource {
    config: TlsConfig,
    base_dir: PathBuf,
    built: Mutex<Option<Built>>,
}

impl TlsSource {
    /// Files that are named are read at once, so that a wrong path is found when the configuration is loaded.
    pub fn new(config: TlsConfig, base_dir: &Path) -> Result<Self, NetError> {
        let source = Self { base_dir: base_dir.to_owned(), built: Mutex::new(None), config };
        // The system's roots are left for the first TLS connection: most targets are plain HTTP.
        if source.config != TlsConfig::default() {
            source.get()?;
        }
        Ok(source)
    }

    /// The name that certificates must carry, if it is not the host's.
    pub fn server_name(&self) -> Option<&str> {
        self.config.server_name.as_deref().filter(|name| !name.is_empty())
    }

    pub fn get(&self) -> Result<Arc<ClientConfig>, NetError> {
        let stamps: Vec<_> = [&self.config.ca_file, &self.config.cert_file, &self.config.key_file]
            .into_iter()
            .flatten()
            .map(|file| std::fs::metadata(self.base_dir.join(file)).and_then(|m| m.modified()).ok())
            .collect();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        match &*built {
            Some((then, config)) if *then == stamps => Ok(config.clone()),
            _ => {
                let config = Arc::new(self.build()?);
                *built = Some((stamps, config.clone()));
                Ok(config)
            }
        }
    }

    fn build(&self) -> Result<ClientConfig, NetError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let lowest = self.config.min_version.unwrap_or(TlsVersion::Tls12);
        let highest = self.config.max_version.unwrap_or(TlsVersion::Tls13);
        let versions: Vec<_> =
            [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
                .into_iter()
                .filter(|(v, _)| lowest <= *v && *v <= highest)
                .map(|(_, v)| v)
                .collect();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|e| NetError::Tls(e.to_string()))?;
        let builder = if self.config.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        } else {
            let roots = match self.text(self.config.ca.as_deref(), self.config.ca_file.as_deref())? {
                Some((pem, name)) => Arc::new(own_roots(&pem, &name)?),
                None => system_roots(),
            };
            builder.with_root_certificates(roots)
        };
        let cert = self.text(self.config.cert.as_deref(), self.config.cert_file.as_deref())?;
        let key = self.text(self.config.key.as_ref().map(|k| k.expose()), self.config.key_file.as_deref())?;
        let mut config = match (cert, key) {
            (Some((cert, cert_name)), Some((key, key_name))) => {
                let chain = certificates(&cert, &cert_name)?;
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|e| NetError::Tls(format!("{key_name}: no usable private key: {e}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| NetError::Tls(format!("{cert_name} and {key_name}: {e}")))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The PEM text of a setting and how to call it in errors.
    fn text(&self, inline: Option<&str>, file: Option<&Path>) -> Result<Option<(Vec<u8>, String)>, NetError> {
        match (inline, file) {
            (Some(text), _) => Ok(Some((text.as_bytes().to_vec(), "the inline PEM text".into()))),
            (None, Some(file)) => {
                let path = self.base_dir.join(file);
                let name = path.display().to_string();
                let bytes = std::fs::read(&path)
                    .map_err(|e| NetError::Config(format!("unable to read {name}: {e}")))?;
                Ok(Some((bytes, name)))
            }
            (None, None) => Ok(None),
        }
    }
}

/// TLS for what is not HTTP, by the same keys.
#[derive(Debug)]
pub struct TlsClient(TlsSource);

impl TlsClient {
    /// With this configuration; files are relative to `base_dir`.
    ///
    /// # Errors
    /// A file cannot be read, a certificate or key cannot be used.
    pub fn new(config: TlsConfig, base_dir: &Path) -> Result<Self, NetError> {
        config.validate().map_err(NetError::Config)?;
        TlsSource::new(config, base_dir).map(Self)
    }

    /// Shakes hands with `host`, whose certificate must carry that name (or the configured one).
    ///
    /// # Errors
    /// The certificate is not trusted, or the connection broke.
    pub async fn connect(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, NetError> {
        let name = self.0.server_name().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone())
            .map_err(|_| NetError::Tls(format!("{name:?} is no name that a certificate can carry")))?;
        let mut config = ClientConfig::clone(&*self.0.get()?);
        // What was offered there was HTTP.
        config.alpn_protocols.clear();
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        connected.map_err(|e| NetError::Tls(format!("{host}: {e}")))
    }
}

fn certificates(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| NetError::Tls(format!("{name}: {e}")))?;
    if chain.is_empty() {
        return Err(NetError::Tls(format!("{name}: no certificate in it")));
    }
    Ok(chain)
}

fn own_roots(pem: &[u8], name: &str) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, name)? {
        roots.add(certificate).map_err(|e| NetError::Tls(format!("{name}: {e}")))?;
    }
    Ok(roots)
}

/// The system's authorities, or Mozilla's list where there are none (an image with nothing in it).
/// Read once in a process: every client shares them.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    };
    ROOTS.get_or_init(load).clone()
}

/// `insecure_skip_verify`: any certificate will do, the signatures of the handshake are still checked.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
