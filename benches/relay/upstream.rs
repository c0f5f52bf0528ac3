//! The upstream's role: it echoes frames, plain and over TLS, or answers as Ably would.
//!
//! It says on its standard output where it listens, and ends with its parent.

use std::{io::Write as _, path::Path, sync::Arc};

use anyhow::Result;
use perennial::wire::{Opcode, encode_frame};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tokio_util::task::TaskTracker;

use super::{
    ably::Service,
    ws::{Socket, Stream},
};

/// The authority that signed the upstream's certificate, in the upstream's directory.
pub(crate) const CA_FILE: &str = "ca.pem";

/// Where the upstream listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) ably: u16,
}

pub(crate) async fn serve(directory: &Path) -> Result<()> {
    let acceptor = acceptor(directory)?;
    let (plain, tls, ably) = (listen().await?, listen().await?, listen().await?);
    let ports = Ports {
        plain: plain.local_addr()?.port(),
        tls: tls.local_addr()?.port(),
        ably: ably.local_addr()?.port(),
    };
    println!("{}", serde_json::to_string(&ports)?);
    std::io::stdout().flush()?;
    let connections = TaskTracker::new();
    let mut accepted = 0;
    loop {
        tokio::select! {
            stream = plain.accept() => tell(&connections, echo(stream?.0)),
            stream = tls.accept() => {
                let (acceptor, stream) = (acceptor.clone(), stream?.0);
                tell(&connections, async move {
                    stream.set_nodelay(true)?;
                    converse(acceptor.accept(stream).await?, None).await
                });
            }
            stream = ably.accept() => {
                accepted += 1;
                tell(&connections, as_ably(stream?.0, accepted));
            }
        }
    }
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// A connection of its own; what went wrong stands in the log.
fn tell(connections: &TaskTracker, connection: impl Future<Output = Result<()>> + Send + 'static) {
    connections.spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("upstream: {error:#}");
        }
    });
}

/// A certificate for this run, its authority's in a file.
fn acceptor(directory: &Path) -> Result<TlsAcceptor> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    // OpenSSL takes a certificate for self-signed whose issuer has its own name.
    authority.distinguished_name.push(rcgen::DnType::CommonName, "the benchmark's authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    std::fs::write(directory.join(CA_FILE), authority_certificate.pem())?;
    let key = rcgen::KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let certificate = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn echo(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    converse(stream, None).await
}

async fn as_ably(stream: TcpStream, id: u64) -> Result<()> {
    stream.set_nodelay(true)?;
    converse(stream, Some(Service::new(id))).await
}

/// Answers until the other side is done.
async fn converse(stream: impl Stream, mut service: Option<Service>) -> Result<()> {
    // Who only looks whether somebody listens has no handshake.
    let Ok(mut socket) = Socket::accept(stream).await else { return Ok(()) };
    if let Some(service) = &service {
        service.greet(&mut socket.out);
    }
    let mut closed = false;
    while !closed {
        let turn = socket.turn(|opcode, payload, out| {
            match opcode {
                Opcode::Text | Opcode::Binary => match &mut service {
                    Some(service) => service.answer(payload, out)?,
                    None => encode_frame(opcode, payload, None, out),
                },
                Opcode::Ping => encode_frame(Opcode::Pong, payload, None, out),
                Opcode::Close => {
                    encode_frame(Opcode::Close, payload, None, out);
                    closed = true;
                }
                Opcode::Pong | Opcode::Continuation => {}
            }
            Ok(())
        });
        // A generator that has seen enough just goes.
        if !matches!(turn.await, Ok(true)) {
            return Ok(());
        }
    }
    socket.flush().await
}
