//! What the kernel knows of the way to a peer: whether what was sent is acknowledged (`TCP_INFO`).
//!
//! ```text
//!   acknowledged, or nothing sent ──► nothing can be said
//!   in flight, the first try      ──► `outstanding`: an acknowledgement may be on its way
//!   sent again, or probed         ──► `overdue`: the peer's host has let a retransmission time pass
//! ```
//!
//! A host acknowledges for a program that hangs, and answers the probes of a closed window for one that is
//! slow. So `overdue` for long means that the way is dead, and nothing else does.

use std::time::Duration;

use tokio::net::TcpStream;

/// The state of what was sent on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Something was sent and is not acknowledged.
    pub outstanding: bool,
    /// It was sent more than once, or two probes of a closed window were not answered.
    pub overdue: bool,
    /// The retransmission timeout of now. It doubles with each try: about half of it, at the least, has passed
    /// without an acknowledgement.
    pub retry: Duration,
    /// How long ago the peer's host last acknowledged anything.
    pub last_ack: Duration,
}

impl Delivery {
    /// Asks the kernel: one system call, which does not wait. `None` if the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn of(tcp: &TcpStream) -> Option<Self> {
        let info = nix::sys::socket::getsockopt(tcp, linux::TcpInfo).ok()?;
        Some(Self {
            outstanding: info.unacked > 0,
            // One probe alone may be on its way, or lost: the next is up to two minutes away.
            overdue: info.retransmits > 0 || info.probes > 1,
            retry: Duration::from_micros(info.rto.into()),
            last_ack: Duration::from_millis(info.last_ack_recv.into()),
        })
    }

    /// Only Linux is asked.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_tcp: &TcpStream) -> Option<Self> {
        None
    }
}

#[cfg(target_os = "linux")]
#[allow(unreachable_pub, reason = "the macro makes its type public")]
mod linux {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    /// The part of `struct tcp_info` that every kernel has (tcp(7)). The C library's own is longer in some
    /// builds, and an older kernel fills only a part of that.
    #[repr(C)]
    pub struct Info {
        _state: [u8; 2],
        pub(super) retransmits: u8,
        pub(super) probes: u8,
        _options: [u8; 4],
        pub(super) rto: u32,
        _sizes: [u32; 3],
        pub(super) unacked: u32,
        _counts: [u32; 4],
        _last_sent: [u32; 2],
        _last_data_recv: u32,
        pub(super) last_ack_recv: u32,
        _metrics: [u32; 11],
    }

    sockopt_impl!(
        /// Reads [`Info`].
        TcpInfo,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        Info
    );
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_host_that_acknowledges_owes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"said").await.unwrap();
        far.read_exact(&mut [0; 4]).await.unwrap();
        let delivery = Delivery::of(&near).unwrap();
        // On loopback the acknowledgement is there before the write returns.
        assert!(!delivery.outstanding && delivery.retry >= Duration::from_millis(200), "{delivery:?}");
        assert!(!delivery.overdue, "{delivery:?}");
        assert!(delivery.last_ack < Duration::from_secs(5), "{delivery:?}");
    }
}
