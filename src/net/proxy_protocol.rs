//! PROXY protocol: what a balancer that passes bytes on says of its client, before the first of them.
//!
//! ```text
//!   1   PROXY TCP4 192.0.2.7 10.0.0.1 4711 7370 CR LF
//!   2   signature (12) │ version, command │ family │ length (2) │ addresses │ what else it says
//! ```
//!
//! The specification is HAProxy's `proxy-protocol.txt`. It is never guessed that a peer speaks it: who may say for whom it
//! speaks is in the configuration.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the longest header of version 1 (§2.1), and of what is taken of version 2: it leaves that to us.
const LONGEST_V1: usize = 107;
const LONGEST_V2: usize = 4096;

/// Does a connection that begins so speak PROXY protocol?
pub fn is_begun_by(bytes: &[u8]) -> bool {
    bytes.starts_with(V1) || bytes.starts_with(V2)
}

/// What some bytes are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// The beginning of a header.
    More,
    /// A header of this length, and whose connection it is; `None`: the balancer's own (a health check), or of a kind
    /// that has no address.
    Header(usize, Option<SocketAddr>),
    /// No header.
    Wrong(&'static str),
}

/// Reads the header, and not a byte more. `None`: it names no client.
///
/// An error if there is none, or if it is longer than 4096 bytes.
pub async fn read(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; LONGEST_V2];
    let mut taken = 0;
    loop {
        // What is looked at stays in the socket until it is known how much of it is header.
        let there = tcp.peek(&mut header[taken..]).await?;
        if there == 0 {
            let why = "the connection, or the space for its header of PROXY protocol, ended";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        let more = match parse(&header[..taken + there]) {
            Parsed::More => there,
            Parsed::Header(length, source) => {
                tcp.read_exact(&mut header[taken..length]).await?;
                return Ok(source);
            }
            Parsed::Wrong(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        };
        tcp.read_exact(&mut header[taken..taken + more]).await?;
        taken += more;
    }
}

fn parse(bytes: &[u8]) -> Parsed {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, own)| byte == own);
    if begins(V2) {
        v2(bytes)
    } else if begins(V1) {
        v1(bytes)
    } else {
        Parsed::Wrong("no header of PROXY protocol, which listen.proxy_protocol asks of this peer")
    }
}

fn v1(bytes: &[u8]) -> Parsed {
    let line = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() < LONGEST_V1 { Parsed::More } else { Parsed::Wrong("its line has no end") };
    };
    let bad = Parsed::Wrong("its line is none of PROXY protocol");
    let Ok(text) = std::str::from_utf8(&line[..end]) else { return bad };
    let mut words = text.split(' ').skip(1);
    let source = match words.next() {
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let words: Vec<&str> = words.collect();
            let &[source, target, port, target_port] = words.as_slice() else { return bad };
            let address = |text: &str| {
                text.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == (family == "TCP4"))
            };
            let number = |text: &str| text.parse::<u16>().ok();
            let all = (address(source), address(target), number(port), number(target_port));
            let (Some(source), Some(_), Some(port), Some(_)) = all else { return bad };
            Some(SocketAddr::new(source, port))
        }
        Some(_) | None => return bad,
    };
    Parsed::Header(end + 2, source)
}

fn v2(bytes: &[u8]) -> Parsed {
    let [version, family, high, low, rest @ ..] = bytes.get(V2.len()..).unwrap_or_default() else {
        return Parsed::More;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let total = V2.len() + 4 + length;
    if total > LONGEST_V2 {
        return Parsed::Wrong("its header is longer than 4096 bytes");
    }
    let Some(addresses) = rest.get(..length) else { return Parsed::More };
    let source = match (version, family >> 4) {
        // LOCAL: the balancer's own connection.
        (0x20, _) => None,
        (0x21, 1) => match *addresses {
            [a, b, c, d, _, _, _, _, high, low, _, _, ..] => {
                Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
            }
            _ => return Parsed::Wrong("its addresses are too short"),
        },
        (0x21, 2) => match (addresses.first_chunk::<16>(), addresses.get(32..36)) {
            (Some(source), Some(&[high, low, _, _])) => {
                Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low])))
            }
            _ => return Parsed::Wrong("its addresses are too short"),
        },
        // A Unix socket, or none: nothing that a client could be known by.
        (0x21, _) => None,
        _ => return Parsed::Wrong("its version is neither 1 nor 2"),
    };
    Parsed::Header(total, source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    fn v2_of(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, addresses].concat()
    }

    fn source(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn headers_of_both_versions_name_the_client() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 7370\r\n".to_vec(), source("192.0.2.7:4711")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 7370\r\n".to_vec(), source("[2001:db8::7]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), None),
            (v2_of(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80]), source("192.0.2.7:4711")),
            (v2_of(0x21, 0x21, &v6), source("[2001:db8::7]:4711")),
            // With what else it says behind it.
            (
                v2_of(0x21, 0x11, &[[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80], [9; 12]].concat()),
                source("192.0.2.7:4711"),
            ),
            (v2_of(0x20, 0x00, &[]), None),
            (v2_of(0x21, 0x31, &[b'x'; 216]), None),
        ] {
            let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&followed), Parsed::Header(header.len(), expected), "{header:?}");
            for cut in 1..header.len() {
                assert_eq!(parse(&header[..cut]), Parsed::More, "{cut} of {header:?}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4711 7370\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 70000\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 7370\r\n",
            b"PROXY  TCP4 192.0.2.7 10.0.0.1 4711 7370\r\n",
            &[b'P', b'R', b'O', b'X', b'Y', b' '].into_iter().chain([b'x'; 200]).collect::<Vec<u8>>(),
            &v2_of(0x11, 0x11, &[0; 12]),
            &v2_of(0x21, 0x11, &[0; 4]),
            &v2_of(0x21, 0x21, &[0; 20]),
            &v2_of(0x21, 0x11, &[0; 5000])[..20],
        ] {
            assert!(matches!(parse(bad), Parsed::Wrong(_)), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, version in 0..3_u8) {
            let signature = match version { 0 => &[][..], 1 => V1, _ => V2 };
            parse(&[signature, &bytes].concat());
        }
    }

    #[tokio::test]
    async fn not_a_byte_more_than_the_header_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut client, (mut accepted, _)) = (client.unwrap(), accepted.unwrap());
        client.set_nodelay(true).unwrap();
        let said = async {
            // In pieces, as a slow balancer sends it.
            for piece in ["PROX", "Y TCP4 192.0.2.7 10.0", ".0.1 4711 7370\r", "\nGET"] {
                client.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let ((), heard) = tokio::join!(said, read(&mut accepted));
        assert_eq!(heard.unwrap(), source("192.0.2.7:4711"));
        let mut rest = [0; 3];
        accepted.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"GET");
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(read(&mut accepted).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
