//! TLS for the admin listener, whose clients may have to authenticate with a certificate (mutual TLS).

use std::{path::Path, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::net::tls::{
    certificate::{CertificateError, read_pem_certificates},
    certificate_set::ServedCertificates,
};

/// The authorities (CAs) to one of which a client's certificate must lead.
#[derive(Clone, Debug)]
pub struct ClientCaRoots(Arc<RootCertStore>);

impl ClientCaRoots {
    /// Reads the authorities, at least one, from a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, has no certificate, or one of them is damaged. A damaged one is not skipped, because
    /// only its clients would notice.
    pub fn read_pem_file(path: &Path) -> Result<ClientCaRoots, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in read_pem_certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| CertificateError::Damaged { path: path.to_owned(), why: error.to_string() })?;
        }
        Ok(ClientCaRoots(Arc::new(roots)))
    }

    /// The number of authorities, at least 1.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Builds the TLS configuration of the admin listener: TLS 1.3 and 1.2 with HTTP/1.1 and the certificates of `served`.
/// With `roots`, the handshake fails for a client without a certificate that leads to one of them. The listener's own
/// certificate is accepted too, so that `waypost healthcheck` needs no other: a holder of its key could answer in the
/// listener's name.
///
/// Sessions are not resumed: a ticket would outlive the client's certificate, or an authority that was removed.
///
/// # Errors
/// The crypto library refuses its own defaults.
pub fn build_admin_server_config_accepting_own_certificate(
    served: &Arc<ServedCertificates>,
    roots: Option<&ClientCaRoots>,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(ClientCaRoots(roots)) => {
            let by_roots = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
            let by_roots = by_roots.map_err(|error: VerifierBuilderError| Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(Arc::new(RootsOrOwnVerifier { by_roots, served: served.clone() }))
        }
    };
    let mut config = builder.with_cert_resolver(served.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts the clients of the authorities, and clients with the listener's own certificate.
#[derive(Debug)]
struct RootsOrOwnVerifier {
    by_roots: Arc<dyn ClientCertVerifier>,
    served: Arc<ServedCertificates>,
}

impl ClientCertVerifier for RootsOrOwnVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_roots.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The signature in the handshake proves that the client has the key, as with every certificate.
        if self.served.is_default_certificate(certificate) {
            return Ok(ClientCertVerified::assertion());
        }
        self.by_roots.verify_client_cert(certificate, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}
