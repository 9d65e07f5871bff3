//! Binding a TCP port, with errors that say what to do.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::error::GatewayError;

/// Listens on `port` of `address`, on all interfaces of both IP versions when there is none;
/// port 0 takes any free port, which the listener's `local_addr` then tells.
///
/// # Errors
///
/// [`GatewayError::PortInUse`], [`GatewayError::PortForbidden`] or [`GatewayError::Bind`].
pub async fn bind(address: Option<IpAddr>, port: u16) -> Result<TcpListener, GatewayError> {
    let wanted = SocketAddr::new(address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), port);
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        // A machine without IPv6 has no unspecified address of that family.
        Err(error) if address.is_none() && lacks_ipv6(&error) => {
            let wanted = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            TcpListener::bind(wanted)
                .await
                .map_err(|error| explain(error, wanted))
        }
        Err(error) => Err(explain(error, wanted)),
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no `ErrorKind` of its own.
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn explain(source: io::Error, address: SocketAddr) -> GatewayError {
    let port = address.port();
    match source.kind() {
        ErrorKind::AddrInUse => GatewayError::PortInUse { port },
        ErrorKind::PermissionDenied => GatewayError::PortForbidden { port },
        _ => GatewayError::Bind { address, source },
    }
}
