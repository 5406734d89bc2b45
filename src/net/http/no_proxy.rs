//! Which hosts are reached without the proxy.

use std::net::IpAddr;

/// Is `host:port` in the list? The list is comma-separated: `*`, a name (with all names below it),
/// `.name` (only the names below it), an address, an address range, each but the range with an optional port.
/// Loopback addresses and `localhost` never use a proxy, as in Go.
pub(super) fn bypasses(list: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if host.eq_ignore_ascii_case("localhost") || address.is_some_and(|a| a.is_loopback()) {
        return true;
    }
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some((net, bits)), Some(address)) = (entry.split_once('/'), address) {
            return matches!((net.parse(), bits.parse()), (Ok(net), Ok(bits)) if in_range(address, net, bits));
        }
        let (name, wanted_port) = match entry.rsplit_once(':') {
            // More than one colon without brackets: an IPv6 address, not a port.
            Some((name, p)) if !name.contains(':') || name.ends_with(']') => (name, p.parse::<u16>().ok()),
            _ => (entry, None),
        };
        if wanted_port.is_some_and(|p| p != port) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if let Some(address) = address {
            return name.parse() == Ok(address);
        }
        let (below, only_below) = match name.trim_start_matches('*').strip_prefix('.') {
            Some(below) => (below, true),
            None => (name, false),
        };
        let (host, below) = (host.to_ascii_lowercase(), below.to_ascii_lowercase());
        (!only_below && host == below) || host.strip_suffix(&below).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn in_range(address: IpAddr, net: IpAddr, bits: u32) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::bypasses;

    #[test]
    fn the_list_is_read_as_go_reads_it() {
        for (list, host, port, want) in [
            ("", "example.org", 80, false),
            ("", "localhost", 80, true),
            ("", "127.3.2.1", 80, true),
            ("*", "example.org", 80, true),
            ("example.org", "example.org", 80, true),
            ("example.org", "a.example.org", 80, true),
            ("example.org", "badexample.org", 80, false),
            (".example.org", "example.org", 80, false),
            (".example.org", "A.Example.org", 80, true),
            ("example.org:81", "example.org", 80, false),
            ("x, example.org:80", "example.org", 80, true),
            ("10.0.0.0/8", "10.1.2.3", 80, true),
            ("10.0.0.0/8", "11.1.2.3", 80, false),
            ("0.0.0.0/0", "11.1.2.3", 80, true),
            ("10.1.2.3", "10.1.2.3", 80, true),
            ("fe80::/10", "fe80::1", 80, true),
            ("2001:db8::1", "2001:db8::1", 80, true),
            ("[2001:db8::1]:80", "2001:db8::1", 80, true),
        ] {
            assert_eq!(bypasses(list, host, port), want, "{list:?} {host}:{port}");
        }
    }
}
