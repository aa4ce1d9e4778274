//! A listening HTTP face, and how it ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_node::api::SharedApi;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::listen::{self, Bounded, ListenError};
use super::router;

/// What requests under way get to end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// The unix socket's server. It is bound before the node starts, so that a second node in the same folder is refused
/// before it touches anything.
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

/// A running server.
pub(crate) struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Takes the socket. Connections wait until [`Bound::serve`].
    pub(crate) fn bind(path: &Path) -> Result<Bound, ListenError> {
        Ok(Bound { listener: listen::bind(path)?, path: path.to_owned() })
    }

    /// Ends it: no new connections, a moment for what is under way, then the rest is cut.
    pub(crate) async fn stop(mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Bound {
    /// Gives the socket up again.
    pub(crate) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Answers requests from now on.
    pub(crate) fn serve(self, api: SharedApi) -> Server {
        let (stop, stopped) = oneshot::channel();
        let service = axum::serve(Bounded::new(self.listener), router(api));
        let task = tokio::spawn(async move {
            let ended = service.with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = ended.await {
                tracing::error!(%error, "the HTTP face has stopped");
            }
        });
        Server { path: self.path, stop: Some(stop), task }
    }
}
