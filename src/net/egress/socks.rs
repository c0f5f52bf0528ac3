//! A tunnel by SOCKS 5 (RFC 1928), with user and password (RFC 1929).
//!
//! ```text
//!   our ways to log in ──► the proxy chooses ──► user, password ──► connect to host:port ──► yes, or why not
//! ```
//!
//! 1. A name goes to the proxy as it is, which resolves it.
//! 2. Every message has a length that is known beforehand: not a byte of the target's is read here.

use std::{io, net::IpAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::config::{ProxyLogin, socket};

const VERSION: u8 = 5;
/// The version of the exchange of user and password.
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const CONNECT: u8 = 1;
/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Has the proxy connect to `host:port`. It takes as long as the proxy does.
pub(super) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (host, port): (&str, u16),
    login: Option<&ProxyLogin>,
) -> io::Result<()> {
    let ways: &[u8] = if login.is_some() { &[VERSION, 2, NO_LOGIN, LOGIN] } else { &[VERSION, 1, NO_LOGIN] };
    send(stream, ways).await?;
    match (take(stream).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, LOGIN], Some(login)) => log_in(stream, login).await?,
        ([VERSION, 0xff], Some(_)) => return Err(wrong("it does not take a user and a password")),
        ([VERSION, 0xff], None) => return Err(wrong("it wants us to log in, and its URL has no user")),
        ([_, _], _) => return Err(wrong("its answer is no SOCKS 5")),
    }
    send(stream, &request(host, port)?).await?;
    let [version, reply, _, kind] = take(stream).await?;
    if version != VERSION {
        return Err(wrong("its answer is no SOCKS 5"));
    }
    if reply != 0 {
        let (target, meaning) = (socket(host, port), meaning(reply));
        return Err(io::Error::other(format!("it answered {reply} ({meaning}) to CONNECT {target}")));
    }
    // The address that it connects from, and a port.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(take::<1>(stream).await?[0]),
        _ => return Err(wrong("its answer is no SOCKS 5")),
    };
    let mut address = [0; 256 + 2];
    closed(stream.read_exact(&mut address[..length + 2]).await)?;
    Ok(())
}

async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ProxyLogin { user, password }: &ProxyLogin,
) -> io::Result<()> {
    let mut message = Zeroizing::new(Vec::with_capacity(3 + user.len() + password.len()));
    message.push(LOGIN_VERSION);
    for text in [user, password] {
        message.push(length(text)?);
        message.extend_from_slice(text.as_bytes());
    }
    send(stream, &message).await?;
    match take(stream).await? {
        [LOGIN_VERSION, 0] => Ok(()),
        // Some write their other version there.
        [LOGIN_VERSION | VERSION, 1..=255] => Err(wrong("it refused our user and password")),
        [VERSION, 0] => Ok(()),
        [_, _] => Err(wrong("its answer is no SOCKS 5")),
    }
}

fn request(host: &str, port: u16) -> io::Result<Vec<u8>> {
    let mut message = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            message.push(IPV4);
            message.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            message.push(IPV6);
            message.extend(ip.octets());
        }
        Err(_) => {
            message.extend([NAME, length(host)?]);
            message.extend_from_slice(host.as_bytes());
        }
    }
    message.extend(port.to_be_bytes());
    Ok(message)
}

fn length(text: &str) -> io::Result<u8> {
    u8::try_from(text.len()).map_err(|_| wrong("a name, a user or a password is longer than 255 bytes"))
}

/// RFC 1928 §6.
fn meaning(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "kind of address not supported",
        _ => "unknown",
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.flush().await
}

async fn take<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut message = [0; N];
    closed(stream.read_exact(&mut message).await)?;
    Ok(message)
}

fn closed<T>(read: io::Result<T>) -> io::Result<T> {
    read.map_err(|error| {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        if ended { io::Error::new(error.kind(), "it closed without an answer") } else { error }
    })
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What comes of it if the proxy answers so, whatever it is asked; what it was sent, and what was left for the
    /// target.
    async fn answered(
        answers: &[u8],
        host: &str,
        login: Option<&ProxyLogin>,
    ) -> (Result<(), String>, Vec<u8>, Vec<u8>) {
        let (mut near, mut far) = duplex(64 * 1024);
        far.write_all(answers).await.unwrap();
        far.shutdown().await.unwrap();
        let opened = open(&mut near, (host, 443), login).await;
        let (mut asked, mut left) = (Vec::new(), Vec::new());
        near.read_to_end(&mut left).await.unwrap();
        drop(near);
        far.read_to_end(&mut asked).await.unwrap();
        (opened.map_err(|error| error.to_string()), asked, left)
    }

    fn login() -> ProxyLogin {
        ProxyLogin { user: "me".into(), password: "CANARY".into() }
    }

    #[tokio::test]
    async fn a_name_is_resolved_by_the_proxy() {
        let yes = [&[5, 0][..], &[5, 0, 0, IPV4, 1, 2, 3, 4, 0, 9], b"left"].concat();
        let (opened, asked, left) = answered(&yes, "api.example", None).await;
        assert_eq!((opened, &left[..]), (Ok(()), &b"left"[..]));
        let wanted = [&[5, 1, 0][..], &[5, 1, 0, NAME, 11], b"api.example", &[1, 187]].concat();
        assert_eq!(asked, wanted);
    }

    #[tokio::test]
    async fn an_address_goes_as_an_address() {
        let yes = [&[5, 0][..], &[5, 0, 0, NAME, 3], b"abc", &[0, 9], b"left"].concat();
        let (opened, asked, left) = answered(&yes, "10.0.0.1", None).await;
        assert_eq!((opened, &left[..]), (Ok(()), &b"left"[..]));
        assert_eq!(asked[3..], [5, 1, 0, IPV4, 10, 0, 0, 1, 1, 187]);
        let yes = [&[5, 0][..], &[5, 0, 0, IPV6], &[0; 18]].concat();
        let (opened, asked, left) = answered(&yes, "fd00::1", None).await;
        assert_eq!((opened, &left[..]), (Ok(()), &b""[..]));
        assert_eq!(asked[3..8], [5, 1, 0, IPV6, 0xfd]);
    }

    #[tokio::test]
    async fn user_and_password_are_shown_if_it_wants_them() {
        let yes = [&[5, LOGIN][..], &[1, 0], &[5, 0, 0, IPV4, 1, 2, 3, 4, 0, 9]].concat();
        let (opened, asked, _) = answered(&yes, "10.0.0.1", Some(&login())).await;
        assert_eq!(opened, Ok(()));
        let wanted = [&[5, 2, 0, 2][..], &[1, 2], b"me", &[6], b"CANARY"].concat();
        assert_eq!(asked[..wanted.len()], wanted);
        let yes = [&[5, NO_LOGIN][..], &[5, 0, 0, IPV4, 1, 2, 3, 4, 0, 9]].concat();
        let (opened, asked, _) = answered(&yes, "10.0.0.1", Some(&login())).await;
        assert_eq!(opened, Ok(()));
        assert!(!asked.windows(6).any(|window| window == b"CANARY"), "not asked for");
    }

    #[tokio::test]
    async fn what_it_answers_is_told() {
        let said = async |answers: &[u8], login: Option<&ProxyLogin>| {
            answered(answers, "api.example", login).await.0.unwrap_err()
        };
        let refused = said(&[5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0], None).await;
        assert_eq!(refused, "it answered 2 (not allowed by its rules) to CONNECT api.example:443");
        let me = login();
        assert_eq!(said(&[5, 2, 1, 1], Some(&me)).await, "it refused our user and password");
        assert_eq!(said(&[5, 0xff], Some(&me)).await, "it does not take a user and a password");
        assert_eq!(said(&[5, 0xff], None).await, "it wants us to log in, and its URL has no user");
        for garbage in
            [&b"HTTP/1.1 400"[..], &[4, 0], &[5, 2], &[5, 1], &[5, 0, 4, 0, 0, 1], &[5, 0, 5, 0, 0, 9]]
        {
            assert_eq!(said(garbage, None).await, "its answer is no SOCKS 5", "{garbage:?}");
        }
        for short in [&[][..], &[5], &[5, 0], &[5, 0, 5, 0, 0, 1, 1]] {
            assert_eq!(said(short, None).await, "it closed without an answer", "{short:?}");
        }
        assert!(answered(&[5, 0], &"x".repeat(256), None).await.0.unwrap_err().contains("255"));
    }
}
