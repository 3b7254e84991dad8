//! `[admin]`

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    admin::tls::TlsConfig, invalid_value::InvalidValue, net::listen::parse_or_resolve_socket_address,
    uri::host::find_valid_host_of_authority,
};

/// `[admin]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on; a name is resolved at the start. The default is loopback, because without
    /// `tls.client_ca` clients do not authenticate.
    #[serde(deserialize_with = "deserialize_socket_address")]
    pub listen: SocketAddr,
    /// Names under which clients ask for this listener, beside addresses, names without a dot and names of private
    /// networks. Over plain HTTP a request with another `Host` is refused.
    pub hosts: Vec<String>,
    /// The files of `https`. Without them the listener speaks `http`.
    pub tls: TlsConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 9100)), hosts: Vec::new(), tls: TlsConfig::default() }
    }
}

impl Config {
    /// All values that are not allowed: the key relative to `admin`, then what is wrong.
    pub fn list_invalid_values(&self) -> Vec<InvalidValue> {
        let is_name = |host: &String| find_valid_host_of_authority(host.as_bytes()) == Some(host.as_bytes());
        let bad_hosts = self.hosts.iter().filter(|host| !is_name(host)).map(|host| {
            let message = format!("`{host}` is no host name; allowed: names such as edge-1.example.com, without port");
            InvalidValue::new("hosts", message)
        });
        bad_hosts.chain(self.tls.list_invalid_values()).collect()
    }
}

fn deserialize_socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_or_resolve_socket_address(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}
