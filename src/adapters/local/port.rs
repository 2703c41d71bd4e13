//! Free ports below those the kernel hands out by itself. Never binds for longer than the look takes.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// For replicas.
pub(crate) const REPLICAS: Range<u16> = 20_000..27_000;
/// For workloads' stable addresses.
pub(crate) const ADDRESSES: Range<u16> = 27_000..32_000;

/// A port of `range` that nobody listens on and that is not in `taken`. `salt` spreads the starting
/// points of several searchers.
pub(crate) fn free(range: Range<u16>, salt: u64, taken: &[u16]) -> Option<u16> {
    let count = u64::from(range.end - range.start);
    let mixed = (salt ^ (u64::from(std::process::id()) << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    (0..count)
        .filter_map(|step| u16::try_from((mixed + step) % count).ok())
        .map(|offset| range.start + offset)
        .find(|port| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// A port that no other shim of this machine gives out while this lives, whether or not anybody listens.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) port: u16,
    /// Its name is the reservation: it spans the same network as the port, and ends with the process.
    _name: UnixDatagram,
}

/// Reserves a free port of `range`; see [`free`].
pub(crate) fn reserve(range: Range<u16>, salt: u64) -> Option<Reserved> {
    let mut taken = Vec::new();
    while let Some(port) = free(range.clone(), salt, &taken) {
        let name = SocketAddr::from_abstract_name(format!("opsward-port-{port}")).ok()?;
        if let Ok(name) = UnixDatagram::bind_addr(&name) {
            return Some(Reserved { port, _name: name });
        }
        taken.push(port);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avoids_ports_in_use() {
        let first = free(ADDRESSES, 1, &[]).unwrap();
        let second = free(ADDRESSES, 1, &[first]).unwrap();
        assert_ne!(first, second);
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, second)).unwrap();
        assert_ne!(free(ADDRESSES, 1, &[first]).unwrap(), second);
        drop(held);
        assert_eq!(free(first..first + 1, 1, &[first]), None);
        let kept = reserve(first..first + 1, 1).unwrap();
        assert!(reserve(first..first + 1, 1).is_none(), "nobody listens, and still it is taken");
        drop(kept);
        assert_eq!(reserve(first..first + 1, 1).unwrap().port, first);
    }
}
