//! Peers that mean no good, or know no better: each case of the corpus by its number.
//!
//! Every case is judged three times: by what the peer is told, by a session beside it that has to go on
//! relaying, and by the process, which must not have panicked. What the verdict of the corpus asks for and
//! this design does not do is said at the case, with the reason.

mod frames;
mod handshake;
mod service;

use crate::sidecar::Sidecar;
use crate::support::{plain, service::Service, ws::Honest};

/// A service that is scripted, the sidecar before it, and a session that has nothing to do with it.
struct Stage {
    service: Service,
    sidecar: Sidecar,
    honest: Honest,
}

impl Stage {
    async fn start(limits: &str, routes: impl Fn(u16) -> String) -> Self {
        let service = Service::start().await;
        let honest = plain(Service::start().await.echo()).replace("plain", "honest");
        let honest = format!("{honest}path = \"/honest\"\n");
        let text = format!("[limits]\n{limits}\n{honest}{}", routes(service.port));
        let sidecar = Sidecar::start_with(&text, "debug").await;
        let honest = Honest::open(sidecar.port, "/honest").await;
        Self { service, sidecar, honest }
    }

    fn port(&self) -> u16 {
        self.sidecar.port
    }

    fn resident(&self) -> usize {
        crate::support::resident(self.sidecar.id())
    }

    /// The last look: at the session beside it, and at the log, which is returned.
    async fn end(mut self) -> String {
        self.honest.relays().await;
        drop(self.honest);
        let log = self.sidecar.stop().await;
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}
