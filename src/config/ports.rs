//! Addresses that two listeners cannot have at once.

use std::net::SocketAddr;

use crate::net::listen::{ListenAddress, ListenConfig};

/// Section and key.
type Key = (&'static str, &'static str);

/// Every address that a listener has already, with its key and what to do. Two listeners of one address would share
/// its connections, or the second could not be bound.
pub(super) fn list_ports_that_are_used_twice(edge: &[ListenConfig], admin: SocketAddr) -> Vec<(Key, String)> {
    let mut errors = Vec::new();
    for (index, listener) in edge.iter().enumerate() {
        if edge[..index].iter().any(|earlier| is_same_socket(&earlier.address, &listener.address)) {
            let message = format!("{} is listed already; give each listener a port of its own", listener.address);
            errors.push((("edge", "listen"), message));
        }
    }
    let admin = ListenAddress::Tcp(admin);
    if let Some(listener) = edge.iter().find(|listener| is_same_socket(&listener.address, &admin)) {
        let message = format!("{admin} is the port of {} in edge.listen too; give admin another one", listener.address);
        errors.push((("admin", "listen"), message));
    }
    errors
}

/// Whether one of the addresses can be bound only while the other is not. Port 0 is any free port; `0.0.0.0` and `[::]`
/// are every address of their kind.
fn is_same_socket(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let covers = |wide: &SocketAddr, narrow: &SocketAddr| {
                wide.ip() == narrow.ip() || wide.ip().is_unspecified() && wide.is_ipv4() == narrow.is_ipv4()
            };
            one.port() == other.port() && one.port() != 0 && (covers(one, other) || covers(other, one))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_two_listeners_have_is_named() {
        let listen = |addresses: &[&str]| -> Vec<ListenConfig> {
            addresses.iter().map(|address| address.parse::<ListenAddress>().unwrap().into()).collect()
        };
        let found = |edge: &[&str], admin: &str| {
            let errors = list_ports_that_are_used_twice(&listen(edge), admin.parse().unwrap());
            errors.into_iter().map(|((section, _), _)| section).collect::<Vec<_>>()
        };
        assert_eq!(found(&["127.0.0.1:80", "127.0.0.1:80"], "127.0.0.1:9100"), ["edge"]);
        assert_eq!(found(&["0.0.0.0:80", "10.0.0.1:80", "[::]:80"], "[::1]:80"), ["edge", "admin"]);
        assert_eq!(found(&["unix:/a", "unix:/a", "systemd:x"], "127.0.0.1:80"), ["edge"]);
        assert_eq!(found(&["0.0.0.0:8080"], "127.0.0.1:8080"), ["admin"]);
        assert_eq!(found(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1", "10.0.0.1:1"], "127.0.0.1:0"), [""; 0]);
    }
}
