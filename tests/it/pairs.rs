//! Certificates made for a test, and clients that speak TLS.

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

use crate::dsl::{PATIENCE, Site, link};

/// A certificate and its key.
pub(crate) type Pem = (String, String);

/// A certificate of its own issue for these names, and its key: PEM.
pub(crate) fn made(names: &[&str]) -> Pem {
    made_until(names, 4096)
}

pub(crate) fn made_until(names: &[&str], last_year: i32) -> Pem {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A directory of pairs for the site, one for each list of names, called by its first name.
pub(crate) fn write_pair(site: &Site, file: &str, (cert, key): &Pem) {
    std::fs::create_dir_all(site.path("tls")).unwrap();
    site.write(&format!("tls/{file}.key"), key);
    site.write(&format!("tls/{file}.crt"), cert);
}

/// One listener with TLS, one without, in this order, and the pairs of the directory `tls`.
pub(crate) fn site(pairs: &[(&str, &Pem)]) -> Site {
    let site = Site::new(&[link("live")]).env("WAYPOST__TLS__DIRECTORY", "tls");
    for (file, pair) in pairs {
        write_pair(&site, file, pair);
    }
    listening(site, "")
}

/// Listens with TLS, then without; `more` are settings of the second.
pub(crate) fn listening(site: Site, more: &str) -> Site {
    let first = format!("[{{ address = \"127.0.0.1:0\", tls = true }}, {{ address = \"127.0.0.1:0\"{more} }}]");
    site.arg("--listen").arg(&first)
}

pub(crate) fn client(trusted: &[&Pem]) -> ClientConfig {
    client_of(trusted, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

pub(crate) fn client_of(trusted: &[&Pem], versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
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

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is done, or why it is not.
pub(crate) fn dial(config: &Arc<ClientConfig>, to: SocketAddr, name: &str) -> std::io::Result<Tls> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let session = ClientConnection::new(config.clone(), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// One request on a connection that ends with it: the whole answer.
pub(crate) fn ask(tls: &mut Tls, path: &str) -> std::io::Result<String> {
    let host = "Host: go.example.com\r\nConnection: close\r\n\r\n";
    tls.write_all(format!("GET {path} HTTP/1.1\r\n{host}").as_bytes())?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Issues certificates to clients.
pub(crate) struct Authority {
    /// Its own, as clients and servers are given it.
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

    /// A certificate by which a client shows who it is.
    pub(crate) fn client(&self, last_year: i32) -> Pem {
        self.issued(&["scraper"], last_year, ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn server(&self, names: &[&str]) -> Pem {
        self.issued(names, 4096, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issued(&self, names: &[&str], last_year: i32, purpose: ExtendedKeyUsagePurpose) -> Pem {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A client that trusts the authority and shows this pair, if it has one.
pub(crate) fn showing(
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
