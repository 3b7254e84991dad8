//! TLS for a listener whose clients may have to show a certificate of their own: the admin's.

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

use crate::net::tls::certificates::{CertificateError, Served, certificates_in};

/// The authorities to one of which a client's certificate must lead.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Reads them, at least one, from a file of PEM.
    ///
    /// # Errors
    /// The file cannot be read, has no certificate, or one of them is damaged: an authority that is skipped would be missed
    /// by its clients only.
    pub fn read(path: &Path) -> Result<Authorities, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates_in(path)? {
            roots
                .add(certificate)
                .map_err(|error| CertificateError::Damaged { path: path.to_owned(), why: error.to_string() })?;
        }
        Ok(Authorities(Arc::new(roots)))
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// TLS 1.3 and 1.2 with HTTP/1.1, showing what `served` holds. With `authorities`, a client without a certificate that leads to one
/// of them gets no further than the handshake; the listener's own certificate is such a one too, so that `waypost healthcheck` needs
/// nothing else: who holds its key could answer in the listener's name.
///
/// Nothing is resumed: a ticket would outlive its client's certificate, and authorities that were taken away.
///
/// # Errors
/// The crypto library refuses its own defaults.
pub fn config(served: &Arc<Served>, authorities: Option<&Authorities>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(Authorities(roots)) => {
            let known = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
            let known = known.map_err(|error: VerifierBuilderError| Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(Arc::new(KnownOrOwn { known, served: served.clone() }))
        }
    };
    let mut config = builder.with_cert_resolver(served.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Clients of the authorities, and whoever holds the listener's own key.
#[derive(Debug)]
struct KnownOrOwn {
    known: Arc<dyn ClientCertVerifier>,
    served: Arc<Served>,
}

impl ClientCertVerifier for KnownOrOwn {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.known.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // That the client has the key is proved by its signature, as of every other certificate.
        if self.served.shows(certificate) {
            return Ok(ClientCertVerified::assertion());
        }
        self.known.verify_client_cert(certificate, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_verify_schemes()
    }
}
