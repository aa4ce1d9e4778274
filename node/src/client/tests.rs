//! The client against a scripted node: raw HTTP over a real unix socket, one script step a request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::api::wire;

#[derive(Clone)]
enum Step {
    Answer(Response),
    Refuse(ApiError),
    /// Reads the request, then hangs up without an answer.
    HangUp,
}

struct Scripted {
    client: Client,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<u32>>,
    _folder: tempfile::TempDir,
}

fn scripted(steps: Vec<Step>) -> Scripted {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let script = Arc::new(Mutex::new(steps.into_iter().collect::<std::collections::VecDeque<_>>()));
    let (log, count) = (seen.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            tokio::spawn(serve(stream, script.clone(), log.clone()));
        }
    });
    Scripted { client: Client::unix(path), seen, connections, _folder: folder }
}

async fn serve(mut stream: UnixStream, script: Arc<Mutex<std::collections::VecDeque<Step>>>, seen: Arc<Mutex<Vec<Request>>>) {
    while let Some(body) = read_request(&mut stream).await {
        seen.lock().unwrap().push(wire::decode_request(&body).unwrap());
        let step = script.lock().unwrap().pop_front().expect("the script has a step for every request");
        let (status, bytes) = match step {
            Step::Answer(response) => ("200 OK", wire::encode_response(&response)),
            Step::Refuse(error) => ("503 Service Unavailable", wire::encode_error(&error)),
            Step::HangUp => return,
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n", bytes.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
}

async fn read_request(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn no_leader() -> Step {
    Step::Refuse(ApiError::NoLeader { waited: Duration::ZERO, detail: "nobody".into() })
}

fn accepted(task: u64) -> Step {
    Step::Answer(Response::Submitted(vec![(TaskId(task), false)]))
}

#[tokio::test]
async fn a_submission_is_repeated_under_the_same_key_until_a_leader_answers() {
    let node = scripted(vec![no_leader(), Step::HangUp, no_leader(), accepted(7)]);
    let submitted = node.client.submit(TaskSpec::command(["true"]), None).await.unwrap();
    assert_eq!(submitted.task, TaskId(7));
    let seen = node.seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|request| request == &seen[0]), "every try is the same request, key included");
    assert!(matches!(&seen[0], Request::Submit { tasks } if tasks[0].1.as_ref() == Some(&submitted.key)));
}

#[tokio::test]
async fn keys_differ_between_submissions_and_a_given_key_is_kept() {
    let node = scripted(vec![accepted(1), accepted(2), accepted(3)]);
    let first = node.client.submit(TaskSpec::command(["true"]), None).await.unwrap();
    let second = node.client.submit(TaskSpec::command(["true"]), None).await.unwrap();
    assert_ne!(first.key, second.key);
    let third = node.client.submit(TaskSpec::command(["true"]), Some("mine".parse().unwrap())).await.unwrap();
    assert_eq!(third.key.as_str(), "mine");
    assert_eq!(*node.connections.lock().unwrap(), 1, "one kept connection serves them all");
}

#[tokio::test]
async fn patience_ends_with_the_last_error() {
    let node = scripted(vec![no_leader(); 2000]);
    let client = node.client.clone().with_patience(Duration::from_millis(200));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Api(ApiError::NoLeader { .. })), "{error}");
    assert!(node.seen.lock().unwrap().len() >= 3);
}

#[tokio::test]
async fn other_refusals_and_retries_are_not_repeated() {
    let node = scripted(vec![Step::Refuse(ApiError::Invalid("empty command".into())), Step::HangUp]);
    let error = node.client.submit(TaskSpec::command(Vec::<String>::new()), None).await.unwrap_err();
    assert_eq!(error.to_string(), "empty command");
    let error = node.client.retry(TaskSelector::All).await.unwrap_err();
    assert!(matches!(error, ClientError::Lost(_)), "{error}");
    assert_eq!(node.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_missing_node_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::unix(folder.path().join("none"));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoNode { .. }), "{error}");
    let as_api = client.handle(Request::Status).await.unwrap_err();
    assert!(matches!(as_api, ApiError::NoLeader { .. }));
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced_without_being_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        for task in 1..=2u64 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            let bytes = wire::encode_response(&Response::Applied(vec![TaskId(task)]));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    });
    let client = Client::unix(path).with_patience(Duration::ZERO);
    assert_eq!(client.cancel(TaskSelector::Last).await.unwrap(), [TaskId(1)]);
    assert_eq!(client.cancel(TaskSelector::Last).await.unwrap(), [TaskId(2)]);
    server.await.unwrap();
}
