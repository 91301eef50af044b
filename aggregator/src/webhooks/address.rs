//! Which addresses a delivery may connect to: those that anybody on the Internet could be reached at, no others.
//!
//! The lists are IANA's special-purpose registries, read strictly: what is not plainly global is refused. Forms
//! that carry an IPv4 address inside are judged by that too, since a translator on the way would take it out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not global, with what they are.
const REFUSED_V4: [(Ipv4Addr, u32, &str); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    // Public by number, but inside of Azure it is the machine's own control plane.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's control plane"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
];

/// Networks within 2000::/3 that are not global, with what they are.
const REFUSED_V6: [(Ipv6Addr, u32, &str); 4] = [
    // Teredo, ORCHID, benchmarks and more.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "for protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation"),
];

/// All global unicast addresses of IPv6 are in this network.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Sockets connect to these as to the IPv4 address inside.
const MAPPED: (Ipv6Addr, u32) = (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
/// Where networks without IPv4 reach IPv4 (RFC 6052); resolvers there answer with these for every global host.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// The interface ids of ISATAP, whose last 32 bits are an IPv4 address (RFC 5214); the bit that differs is masked.
const ISATAP: u32 = 0x0000_5efe;

/// Whether deliveries may go to this address; else what it is.
///
/// # Errors
/// In one word or two, what the address is instead of global.
pub fn judge(address: IpAddr) -> Result<(), &'static str> {
    match address {
        IpAddr::V4(address) => judge_v4(address),
        IpAddr::V6(address) => judge_v6(address),
    }
}

/// Whether this is the machine itself, in the plain forms that a developer writes.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

fn judge_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    let within = |(network, length, _): &&(Ipv4Addr, u32, &str)| {
        shared_bits(
            u128::from(u32::from(address)),
            u128::from(u32::from(*network)),
            32_u32.saturating_sub(*length),
        )
    };
    REFUSED_V4.iter().find(within).map_or(Ok(()), |(_, _, what)| Err(what))
}

fn judge_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    let bits = u128::from(address);
    let within = |network: Ipv6Addr, length: u32| {
        shared_bits(bits, u128::from(network), 128_u32.saturating_sub(length))
    };
    if within(MAPPED.0, MAPPED.1) || within(NAT64.0, NAT64.1) {
        return judge_v4(last_32_bits(bits));
    }
    if let Some((_, _, what)) = REFUSED_V6.iter().find(|(network, length, _)| within(*network, *length)) {
        return Err(what);
    }
    if !within(GLOBAL_V6.0, GLOBAL_V6.1) {
        return Err("not global");
    }
    let interface = u32::try_from((bits >> 32) & u128::from(u32::MAX)).unwrap_or_default();
    // The second lowest bit of the first byte says only whether the IPv4 address is unique.
    if interface & 0xfdff_ffff == ISATAP { judge_v4(last_32_bits(bits)) } else { Ok(()) }
}

/// Whether two addresses are equal but for their last `free` bits.
fn shared_bits(one: u128, other: u128, free: u32) -> bool {
    (one ^ other).checked_shr(free).unwrap_or(0) == 0
}

fn last_32_bits(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_addresses_pass() {
        let global = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
                      169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 \
                      198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 \
                      2000::1 2001:200::1 2606:4700::1111 2a00:1450::1 3ffe::1 ::ffff:8.8.8.8 64:ff9b::808:808 \
                      2606:4700::5efe:8.8.8.8";
        for text in global.split_whitespace() {
            assert_eq!(judge(text.parse().unwrap()), Ok(()), "{text}");
        }
        let refused = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
                       127.255.255.255 169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.9 \
                       192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 \
                       203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 100.100.100.200 \
                       :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 \
                       ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::a00:1 64:ff9b:1::808:808 100::1 2001::1 \
                       2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:1ff::1 2001:db8::1 \
                       2002:7f00:1:: 2002:808:808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 \
                       2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:10.0.0.1 4000::1";
        for text in refused.split_whitespace() {
            assert!(judge(text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
