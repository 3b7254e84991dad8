//! The address prefix by which limits group clients: an IPv4 address, or the /64 network of an IPv6 address. A /64 is
//! the smallest network that one subscriber gets.

use std::net::IpAddr;

/// An IPv4 address or an IPv6 /64. An IPv4-mapped IPv6 address is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AddressPrefix(u64);

impl From<IpAddr> for AddressPrefix {
    fn from(address: IpAddr) -> AddressPrefix {
        match address.to_canonical() {
            // No IPv6 client has a prefix that begins with 0xffff: ff00::/8 is multicast.
            IpAddr::V4(v4) => AddressPrefix(0xffff << 48 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => AddressPrefix((v6.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_has_one_prefix_and_a_mapped_address_that_of_its_ipv4_address() {
        let prefix = |text: &str| AddressPrefix::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
        assert_ne!(prefix("192.0.2.2"), prefix("192.0.2.1"));
    }
}
