//! The unix socket: taken from a dead process, never from a living one, and for its owner only.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;

/// The longest path of a unix socket that Linux takes (sun_path has 108 bytes, one of them for the end).
pub(crate) const MAX_PATH: usize = 107;

/// Why the socket could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("another node is already running with the socket {}", .0.display())]
    InUse(PathBuf),
    #[error("{} is in the way: it is not a socket", .0.display())]
    NotASocket(PathBuf),
    #[error("the socket's path is {} bytes long; the operating system takes {MAX_PATH}: {}", .0.as_os_str().len(), .0.display())]
    PathTooLong(PathBuf),
    #[error("could not {act} the socket {}: {source}", path.display())]
    Io { act: &'static str, path: PathBuf, source: io::Error },
}

/// Listens on a socket file of mode 0600, replacing one whose process is dead.
pub(super) fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(ListenError::PathTooLong(path.to_owned()));
    }
    let failed = |act| move |source| ListenError::Io { act, path: path.to_owned(), source };
    remove_stale(path)?;
    // Bound under another name and renamed when its mode is right: at its own name it is never open to others, and a
    // client sees either no socket or a complete one.
    let draft = draft_name(path);
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(failed("bind"))?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
    fs::rename(&draft, path).map_err(failed("place"))?;
    Ok(listener)
}

fn draft_name(path: &Path) -> PathBuf {
    // Shorter than the name it stands in for wherever that is `dunlin.sock`, so that the limit on paths holds for both.
    path.with_file_name(".new.sock")
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |act| move |source| ListenError::Io { act, path: path.to_owned(), source };
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
    };
    if !kind.is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed("replace")),
        Err(error) => Err(failed("try")(error)),
    }
}

/// Accepts at most [`MAX_CONNECTIONS`] at once.
pub(super) struct Bounded {
    listener: UnixListener,
    places: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: UnixListener) -> Self {
        Bounded { listener, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        // The semaphore is never closed; if it were, connections would simply not be counted.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Placed { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its place back when it ends.
pub(super) struct Placed {
    stream: UnixStream,
    _place: Option<OwnedSemaphorePermit>,
}

mod io_of_placed {
    //! Reading and writing go straight through.

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Placed;

    impl AsyncRead for Placed {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Placed {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
