//! The server's side of TLS: `tls_server_config` of a web configuration file, made into rustls' own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use serde::Deserialize;

use crate::model::Secret;
use crate::model::yaml::{FileError, Spanned};

/// `tls_server_config`, with Prometheus's keys.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsServerConfig {
    /// The certificate chain in the file itself, PEM.
    pub cert: Option<Spanned<String>>,
    pub key: Option<Spanned<Secret>>,
    /// The certificate chain, a path relative to the web configuration file.
    pub cert_file: Option<Spanned<PathBuf>>,
    pub key_file: Option<Spanned<PathBuf>>,
    pub client_ca: Option<Spanned<String>>,
    pub client_ca_file: Option<Spanned<PathBuf>>,
    pub client_auth_type: Option<Spanned<String>>,
    pub client_allowed_sans: Option<Spanned<Vec<String>>>,
    pub min_version: Option<Spanned<String>>,
    pub max_version: Option<Spanned<String>>,
    pub cipher_suites: Option<Spanned<Vec<String>>>,
    pub curve_preferences: Option<Spanned<Vec<String>>>,
    /// Read and without effect, as in Prometheus built with current Go.
    pub prefer_server_cipher_suites: Option<bool>,
}

/// TLS as a listener uses it. Clones share it.
#[derive(Clone)]
pub struct ServerTls {
    pub server: Arc<ServerConfig>,
    /// Is a client certificate checked against an authority whenever there is one?
    pub verifies_clients: bool,
    /// Is no connection possible without such a certificate?
    pub requires_verified_clients: bool,
}

impl TlsServerConfig {
    /// Is no key there?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The files it reads, for watching them.
    pub fn files(&self, base: &Path) -> Vec<PathBuf> {
        [&self.cert_file, &self.key_file, &self.client_ca_file]
            .into_iter()
            .flatten()
            .map(|f| base.join(&f.value))
            .collect()
    }

    /// Reads certificates and keys. `file` is the web configuration file, for errors and relative paths.
    ///
    /// # Errors
    /// Something is missing, contradicts itself, cannot be read, or is not offered; with the place.
    pub fn load(&self, file: &Path) -> Result<ServerTls, FileError> {
        let base = file.parent().unwrap_or(Path::new(""));
        let certs = match (&self.cert, &self.cert_file) {
            (Some(_), Some(place)) => {
                return Err(FileError::at(file, place, "only one of cert and cert_file may be given"));
            }
            (Some(pem), None) => certificates(file, pem, pem.value.as_bytes())?,
            (None, Some(path)) => certificates(file, path, &read(file, base, path)?)?,
            (None, None) => return Err(FileError::whole(file, "missing cert_file in tls_server_config")),
        };
        let key = match (&self.key, &self.key_file) {
            (Some(_), Some(place)) => {
                return Err(FileError::at(file, place, "only one of key and key_file may be given"));
            }
            (Some(pem), None) => private_key(file, pem, pem.value.expose().as_bytes())?,
            (None, Some(path)) => private_key(file, path, &read(file, base, path)?)?,
            (None, None) => return Err(FileError::whole(file, "missing key_file in tls_server_config")),
        };
        let provider = Arc::new(self.provider(file)?);
        let (verifier, verifies, requires) = self.client_verifier(file, base, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions(file)?)
            .map_err(|e| FileError::whole(file, format!("tls_server_config: {e}")))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(certs, key)
            .map_err(|e| FileError::whole(file, format!("tls_server_config: certificate and key: {e}")))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(ServerTls {
            server: Arc::new(server),
            verifies_clients: verifies,
            requires_verified_clients: requires,
        })
    }

    fn versions(&self, file: &Path) -> Result<Vec<&'static SupportedProtocolVersion>, FileError> {
        let number = |given: &Option<Spanned<String>>, default: u8| match given {
            None => Ok(default),
            Some(v) => match v.value.as_str() {
                "TLS12" => Ok(2),
                "TLS13" => Ok(3),
                "TLS10" | "TLS11" => {
                    Err(FileError::at(file, v, format!("{} is not offered: TLS12 or TLS13", v.value)))
                }
                other => Err(FileError::at(file, v, format!("unknown TLS version: {other:?}"))),
            },
        };
        let (min, max) = (number(&self.min_version, 2)?, number(&self.max_version, 3)?);
        let versions: Vec<_> = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(n, _)| (min..=max).contains(n))
            .map(|(_, version)| version)
            .collect();
        match &self.max_version {
            Some(place) if versions.is_empty() => {
                Err(FileError::at(file, place, "max_version is below min_version"))
            }
            _ => Ok(versions),
        }
    }

    fn provider(&self, file: &Path) -> Result<CryptoProvider, FileError> {
        let mut chosen = provider::default_provider();
        if let Some(names) = &self.cipher_suites
            && !names.value.is_empty()
        {
            let all = chosen.cipher_suites.clone();
            chosen.cipher_suites = names
                .value
                .iter()
                .map(|name| {
                    all.iter().copied().find(|s| suite_is(s, name)).ok_or_else(|| {
                        FileError::at(file, names, format!("cipher suite {name:?} is unknown or not offered"))
                    })
                })
                .collect::<Result<_, _>>()?;
            // The list is about TLS 1.2, as in Go; the suites of 1.3 are always there.
            let modern = all.into_iter().filter(|s| s.tls13().is_some());
            chosen.cipher_suites.extend(modern.filter(|s| !names.value.iter().any(|n| suite_is(s, n))));
        }
        if let Some(names) = &self.curve_preferences
            && !names.value.is_empty()
        {
            chosen.kx_groups = names
                .value
                .iter()
                .map(|name| -> Result<&'static dyn SupportedKxGroup, FileError> {
                    match name.as_str() {
                        "X25519" => Ok(provider::kx_group::X25519),
                        "CurveP256" => Ok(provider::kx_group::SECP256R1),
                        "CurveP384" => Ok(provider::kx_group::SECP384R1),
                        other => Err(FileError::at(
                            file,
                            names,
                            format!(
                                "curve {other:?} is unknown or not offered: X25519, CurveP256, CurveP384"
                            ),
                        )),
                    }
                })
                .collect::<Result<_, _>>()?;
        }
        Ok(chosen)
    }

    #[expect(clippy::type_complexity, reason = "the verifier, does it verify, does it require")]
    fn client_verifier(
        &self,
        file: &Path,
        base: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Option<Arc<dyn ClientCertVerifier>>, bool, bool), FileError> {
        if let Some(place) = &self.client_allowed_sans {
            return Err(FileError::at(file, place, "client_allowed_sans is not built yet"));
        }
        let kind = self.client_auth_type.as_ref().map_or("", |t| t.value.as_str());
        let authority = match (&self.client_ca, &self.client_ca_file) {
            (Some(_), Some(place)) => {
                return Err(FileError::at(
                    file,
                    place,
                    "only one of client_ca and client_ca_file may be given",
                ));
            }
            (Some(pem), None) => Some(certificates(file, pem, pem.value.as_bytes())?),
            (None, Some(path)) => Some(certificates(file, path, &read(file, base, path)?)?),
            (None, None) => None,
        };
        let place_error = |message: String| match (&self.client_auth_type, &self.client_ca_file) {
            (Some(place), _) => FileError::at(file, place, message),
            (None, Some(place)) => FileError::at(file, place, message),
            _ => FileError::whole(file, message),
        };
        match kind {
            "" | "NoClientCert" => match authority {
                Some(_) => Err(place_error(
                    "a client CA is given without a client_auth_type that asks for it".into(),
                )),
                None => Ok((None, false, false)),
            },
            "RequestClientCert" => Ok((Some(AnyCertificate::verifier(provider, false)), false, false)),
            "RequireAnyClientCert" | "RequireClientCert" => {
                Ok((Some(AnyCertificate::verifier(provider, true)), false, false))
            }
            "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert" => {
                let authority = authority
                    .ok_or_else(|| place_error(format!("client_auth_type {kind} needs a client_ca_file")))?;
                let mut roots = RootCertStore::empty();
                for cert in authority {
                    roots.add(cert).map_err(|e| place_error(format!("client CA: {e}")))?;
                }
                let builder =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                let require = kind == "RequireAndVerifyClientCert";
                let builder = if require { builder } else { builder.allow_unauthenticated() };
                let verifier = builder.build().map_err(|e| place_error(format!("client CA: {e}")))?;
                Ok((Some(verifier), true, require))
            }
            other => Err(place_error(format!("invalid client_auth_type {other:?}"))),
        }
    }
}

/// Go and rustls name the suites alike but for the hash after ChaCha20 and a prefix.
fn suite_is(suite: &SupportedCipherSuite, name: &str) -> bool {
    let ours = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    ours == name || ours.strip_suffix("_SHA256").is_some_and(|s| s == name && s.ends_with("POLY1305"))
}

fn read(file: &Path, base: &Path, path: &Spanned<PathBuf>) -> Result<Vec<u8>, FileError> {
    let full = base.join(&path.value);
    std::fs::read(&full).map_err(|e| FileError::at(file, path, format!("{}: {e}", full.display())))
}

fn certificates<T>(
    file: &Path,
    place: &Spanned<T>,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| FileError::at(file, place, format!("bad certificate: {e}")))?;
    if certs.is_empty() {
        return Err(FileError::at(file, place, "there is no certificate in it"));
    }
    Ok(certs)
}

fn private_key<T>(file: &Path, place: &Spanned<T>, pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    // The library's error never quotes the key.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|e| FileError::at(file, place, format!("bad private key: {e}")))
}

/// Asks for a certificate and takes any: what `RequestClientCert` and `RequireAnyClientCert` mean.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    mandatory: bool,
}

impl AnyCertificate {
    fn verifier(provider: &Arc<CryptoProvider>, mandatory: bool) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self { provider: Arc::clone(provider), mandatory })
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
