//! After a connection was closed or reset: is the process at the other end gone, or only the connection?
//!
//! Gone means that its kernel answers and refuses: nobody listens on its port any more. Silence proves nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// Attempts: a dying process may close its connections a moment before its listener.
const ATTEMPTS: u32 = 5;

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

enum Finding {
    Refused,
    Alive,
    Dying,
    Unknown,
}

/// Whether nobody listens at that address any more. Takes at most about a second.
pub(super) async fn is_gone(address: SocketAddr) -> bool {
    for _ in 0..ATTEMPTS {
        match timeout(PATIENCE, look(address)).await {
            Ok(Finding::Refused) => return true,
            Ok(Finding::Dying) => tokio::time::sleep(PAUSE).await,
            Ok(Finding::Alive | Finding::Unknown) | Err(_) => return false,
        }
    }
    false
}

async fn look(address: SocketAddr) -> Finding {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(problem) if problem.kind() == ErrorKind::ConnectionRefused => return Finding::Refused,
        Err(problem) if problem.kind() == ErrorKind::ConnectionReset => return Finding::Dying,
        Err(_) => return Finding::Unknown,
    };
    // A living node speaks first (the private network's nonce). A listener that is being closed resets instead.
    match stream.read_u8().await {
        Ok(_) => Finding::Alive,
        Err(_) => Finding::Dying,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_gone_and_a_speaking_or_silent_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_gone(address).await, "a listener that says nothing");
        let speaker = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"hello").await;
            }
        });
        assert!(!is_gone(address).await, "a listener that speaks");
        speaker.abort();
        assert!(speaker.await.unwrap_err().is_cancelled());
        assert!(is_gone(address).await, "nobody");
    }
}
