//! Keep-alive HTTP/1 connections to one unix socket, bounded in number, and one exchange over one of them.
//!
//! An encoded request enters, an encoded answer leaves. What they mean, and trying again after an answer was lost, is
//! the parent's business; here only a connection that had died while idle is replaced, because nothing was sent on it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::ClientError;
use crate::api::wire;

/// Connections kept for later.
const MAX_IDLE: usize = 16;

/// Connections at once; further requests wait for one of them.
const MAX_OPEN: usize = 64;

#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    open: Semaphore,
    reached: AtomicBool,
}

impl Pool {
    pub(super) fn new(path: PathBuf) -> Self {
        Pool { path, idle: Mutex::default(), open: Semaphore::new(MAX_OPEN), reached: AtomicBool::new(false) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a node has ever accepted a connection.
    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// One exchange: whether the node carried it out, and the bytes of its answer or refusal.
    pub(super) async fn post(&self, body: Bytes) -> Result<(bool, Bytes), ClientError> {
        let _permit = self.open.acquire().await.map_err(|_| ClientError::Lost("the client is closed".to_owned()))?;
        let (mut connection, response) = self.exchange(request(body)?).await?;
        let status = response.status();
        check_type(&response)?;
        let collected = Limited::new(response.into_body(), wire::MAX_ANSWER).collect().await;
        let bytes = collected.map_err(|error| ClientError::Lost(error.to_string()))?.to_bytes();
        if connection.ready().await.is_ok() {
            self.keep(connection);
        }
        Ok((status == StatusCode::OK, bytes))
    }

    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(SendRequest<Full<Bytes>>, Response<Incoming>), ClientError> {
        loop {
            let (mut connection, is_fresh) = match self.take() {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut failed) => match failed.take_message() {
                    // Never sent: the idle connection had died. The number of idle ones bounds this loop.
                    Some(unsent) if !is_fresh => request = unsent,
                    _ => return Err(ClientError::Lost(failed.into_error().to_string())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let no_node = |source| ClientError::NoNode { path: self.path.clone(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(no_node)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (connection, driver) = shaken.map_err(|error| ClientError::Lost(error.to_string()))?;
        // Ends by itself when the connection's other half is dropped or the node closes it.
        tokio::spawn(driver);
        self.reached.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

fn request(body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
    Request::builder()
        .method(Method::POST)
        .uri(wire::CALL_PATH)
        .header(header::HOST, "dunlin")
        .header(header::CONTENT_TYPE, wire::CBOR)
        .header(header::ACCEPT, wire::CBOR)
        .body(Full::new(body))
        .map_err(|error| ClientError::Protocol(error.to_string()))
}

fn check_type(response: &Response<Incoming>) -> Result<(), ClientError> {
    match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) if kind == wire::CBOR => Ok(()),
        kind => {
            let kind = kind.map_or("no type", |kind| kind.to_str().unwrap_or("an odd type"));
            Err(ClientError::Protocol(format!("status {} with {kind} instead of {}", response.status(), wire::CBOR)))
        }
    }
}
