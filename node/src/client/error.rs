//! Why a client got no answer, told apart by what may have happened on the other side.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::ApiError;

/// Why a request through a [`Client`](super::Client) failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there: the request was not sent.
    #[error("no node answers on {}: {source}", path.display())]
    NoNode {
        /// The socket.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The connection ended before the answer: the request may have been carried out.
    #[error("the connection to the node ended before it answered: {0}")]
    Lost(String),
    /// No answer in time: the request may have been carried out.
    #[error("the node did not answer within {waited:?}")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// The answer could not be understood: the other end is not a dunlin node, or of another version.
    #[error("the answer could not be understood: {0}")]
    Protocol(String),
    /// The swarm refused it.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClientError {
    /// Whether the same request may well succeed a little later. A missing node counts only if it has answered before:
    /// at the first request it is simply not there.
    pub(super) fn is_transient(&self, was_reached: bool) -> bool {
        match self {
            ClientError::NoNode { .. } => was_reached,
            ClientError::Lost(_) => true,
            ClientError::Api(error) => matches!(error, ApiError::NoLeader { .. } | ApiError::Overloaded(_)),
            ClientError::TimedOut { .. } | ClientError::Protocol(_) => false,
        }
    }

    /// The same after several tries: the person has waited for all of them, not for the last one only.
    pub(super) fn after(self, waited: Duration) -> ClientError {
        match self {
            ClientError::Api(ApiError::NoLeader { waited: last, detail }) => {
                ClientError::Api(ApiError::NoLeader { waited: last.max(waited), detail })
            }
            other => other,
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> ApiError {
        match error {
            ClientError::Api(error) => error,
            ClientError::TimedOut { waited } => ApiError::NoLeader { waited, detail: "the node did not answer".to_owned() },
            ClientError::NoNode { .. } | ClientError::Lost(_) => {
                ApiError::NoLeader { waited: Duration::ZERO, detail: error.to_string() }
            }
            ClientError::Protocol(_) => ApiError::Internal(error.to_string()),
        }
    }
}
