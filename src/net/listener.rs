//! A socket that peers connect to: TCP, or a Unix socket.
//!
//! ```text
//!   bind ──► TCP: host and port
//!        └─► Unix: bound under a name of its own, mode 0600, then moved to its place
//! ```
//!
//! 1. A Unix socket is never there with other rights than its own, not even for a moment.
//! 2. What is left of a process that is gone is replaced; a socket that somebody listens on is not.
//! 3. The file goes with the listener, unless another one has taken its place.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Peer;
use crate::config::ListenAddress;

/// Who may connect by a Unix socket: its owner.
const OWNER_ONLY: u32 = 0o600;

/// A socket that is listened on.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Where that is; port 0 has become the port that was taken.
    address: ListenAddress,
    #[expect(dead_code, reason = "held for its Drop: the file of a Unix socket goes with it")]
    placed: Option<Placed>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A file that was made for a socket.
#[derive(Debug)]
struct Placed {
    path: PathBuf,
    inode: u64,
}

/// A connection, and who made it.
#[derive(Debug)]
pub enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream, Peer),
}

impl Accepted {
    /// Who made it.
    pub fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, address) => (*address).into(),
            Self::Unix(_, peer) => *peer,
        }
    }
}

impl Listener {
    /// Listens there.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Self::tcp(TcpListener::bind(address).await?),
            ListenAddress::Unix(path) => {
                let (socket, placed) = place(path)?;
                Ok(Self { socket: Socket::Unix(socket), address: address.clone(), placed: Some(placed) })
            }
        }
    }

    /// A TCP socket that is listened on already.
    pub fn tcp(socket: TcpListener) -> io::Result<Self> {
        let address = ListenAddress::Tcp(socket.local_addr()?);
        Ok(Self { socket: Socket::Tcp(socket), address, placed: None })
    }

    /// A Unix socket that is listened on already, and whose file is another's.
    pub fn unix(socket: UnixListener) -> io::Result<Self> {
        let path =
            socket.local_addr()?.as_pathname().map(Path::to_owned).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { socket: Socket::Unix(socket), address: ListenAddress::Unix(path), placed: None })
    }

    /// Where it listens.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The TCP socket, if it is one.
    pub fn as_tcp(&self) -> Option<&TcpListener> {
        match &self.socket {
            Socket::Tcp(socket) => Some(socket),
            Socket::Unix(_) => None,
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(socket) => socket.accept().await.map(|(tcp, address)| Accepted::Tcp(tcp, address)),
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                let who = stream.peer_cred()?;
                Ok(Accepted::Unix(stream, Peer::Unix { uid: who.uid(), pid: who.pid() }))
            }
        }
    }
}

/// Rule 1: binds beside the place, and moves there.
fn place(path: &Path) -> io::Result<(UnixListener, Placed)> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
    }
    if fs::symlink_metadata(path).is_ok_and(|file| !is_socket(&file)) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, and it is no socket"));
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let bound = UnixListener::bind(&beside)?;
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(OWNER_ONLY))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| fs::symlink_metadata(path));
    match placed {
        Ok(file) => Ok((bound, Placed { path: path.to_owned(), inode: file.ino() })),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

fn is_socket(file: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&file.file_type())
}

/// Rule 3.
impl Drop for Placed {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> ListenAddress {
        ListenAddress::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn a_unix_socket_is_its_owners_and_knows_its_peer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clients.sock");
        let listener = Listener::bind(&at(&path)).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(listener.address(), &at(&path));
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        client.unwrap();
        let own = Peer::Unix {
            uid: rustix::process::getuid().as_raw(),
            pid: i32::try_from(std::process::id()).ok(),
        };
        assert_eq!(accepted.unwrap().peer(), own);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_left_is_replaced_and_what_lives_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // A process that was killed leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&at(&path)).await.unwrap();
        let error = Listener::bind(&at(&path)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // One that took its place stays when the first goes.
        fs::remove_file(&path).unwrap();
        let _second = Listener::bind(&at(&path)).await.unwrap();
        drop(first);
        assert!(path.exists());
        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert_eq!(Listener::bind(&at(&file)).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }
}
