//! TLS for tests: certificates, sites that serve them, and clients.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::dsl::{Site, TIMEOUT, link};

/// A certificate and its key, both PEM.
pub(crate) type Pem = (String, String);

/// A self-signed certificate for these names, valid for long.
pub(crate) fn self_signed(names: &[&str]) -> Pem {
    self_signed_until(names, 4096)
}

/// A self-signed certificate for these names, valid until the beginning of `last_year`.
pub(crate) fn self_signed_until(names: &[&str], last_year: i32) -> Pem {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Writes a certificate and its key as `tls/FILE.crt` and `tls/FILE.key`.
pub(crate) fn write_certificate(site: &Site, file: &str, (cert, key): &Pem) {
    std::fs::create_dir_all(site.path("tls")).unwrap();
    site.write(&format!("tls/{file}.key"), key);
    site.write(&format!("tls/{file}.crt"), cert);
}

/// A site that is not started yet, with these certificates, a listener with TLS and then one without.
pub(crate) fn tls_site(pairs: &[(&str, &Pem)]) -> Site {
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    for (file, pair) in pairs {
        write_certificate(&site, file, pair);
    }
    with_tls_listener(site, "")
}

/// Adds a listener with TLS and then one without; `more` are settings of the second.
pub(crate) fn with_tls_listener(site: Site, more: &str) -> Site {
    let first = format!("[{{ address = \"127.0.0.1:0\", tls = true }}, {{ address = \"127.0.0.1:0\"{more} }}]");
    site.arg("--listen").arg(&first)
}

/// A client of TLS 1.3 and 1.2 that trusts these certificates.
pub(crate) fn client_trusting(trusted: &[&Pem]) -> ClientConfig {
    client_trusting_with_versions(trusted, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

pub(crate) fn client_trusting_with_versions(
    trusted: &[&Pem],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for (cert, _) in trusted {
        roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client's connection.
pub(crate) type TlsConnection = StreamOwned<ClientConnection, TcpStream>;

/// Connects and does the handshake.
pub(crate) fn connect_tls(config: &Arc<ClientConfig>, to: SocketAddr, name: &str) -> std::io::Result<TlsConnection> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let session = ClientConnection::new(config.clone(), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// Sends the last request of a connection and reads the whole answer, to the connection's end.
pub(crate) fn get_and_close(tls: &mut TlsConnection, path: &str) -> std::io::Result<String> {
    let host = "Host: go.example.com\r\nConnection: close\r\n\r\n";
    tls.write_all(format!("GET {path} HTTP/1.1\r\n{host}").as_bytes())?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A certificate authority.
pub(crate) struct Authority {
    /// Its own certificate, for those who trust it.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Issues a client's certificate.
    pub(crate) fn issue_client(&self, last_year: i32) -> Pem {
        self.issue(&["scraper"], last_year, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Issues a server's certificate.
    pub(crate) fn issue_server(&self, names: &[&str]) -> Pem {
        self.issue(names, 4096, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, names: &[&str], last_year: i32, purpose: ExtendedKeyUsagePurpose) -> Pem {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A client that trusts the authority, and authenticates with this certificate if it has one.
pub(crate) fn client_with_certificate(
    trusted: &Authority,
    own: Option<&Pem>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    })
}
