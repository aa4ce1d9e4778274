//! The routes over a real unix socket, with a swarm in memory behind them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_node::api::{ApiError, Request, SharedApi, TaskSelector};
use dunlin_node::client::{Client, OutputPart};
use dunlin_node::sandbox::OutputStream;
use dunlin_node::task::{TaskId, TaskSpec};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{ListenError, Server};
use crate::fake::Fake;

/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Up {
    fake: Fake,
    path: PathBuf,
    _server: Server,
    _folder: tempfile::TempDir,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that it is a problem in the form of RFC 9457, and gives its detail.
    fn problem(&self, status: u16, kind: &str) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let json = self.json();
        assert_eq!(
            (self.status, &json["status"], &json["type"]),
            (status, &json!(status), &json!(format!("urn:dunlin:problem:{kind}")))
        );
        assert!(json["title"].is_string());
        json["detail"].as_str().unwrap().to_owned()
    }
}

fn up() -> Up {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.sock");
    let fake = Fake::default();
    let api: SharedApi = std::sync::Arc::new(fake.clone());
    let server = Server::bind(&path).unwrap().serve(api);
    Up { fake, path, _server: server, _folder: folder }
}

impl Up {
    async fn raw(&self, request: &[u8]) -> Reply {
        let exchange = async {
            let mut stream = UnixStream::connect(&self.path).await.unwrap();
            // A server that refuses early may close before it has read everything: what counts is its answer.
            let _ = stream.write_all(request).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            bytes
        };
        let bytes = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Reply { status, head, body }
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", b"").await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "content-type: application/json\r\n", body.to_string().as_bytes()).await
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}

#[tokio::test]
async fn tasks_are_submitted_and_read_as_json() {
    let up = up();
    let one = up.post("/v1/tasks", &json!({ "command": ["echo", "hi"] })).await;
    assert_eq!((one.status, one.json()), (200, json!({ "tasks": [{ "id": 1, "duplicate": false }] })));
    let many = up.post("/v1/tasks", &json!([{ "command": ["binary"] }, { "command": ["fail", "3"] }])).await;
    assert_eq!(many.json()["tasks"][1]["id"], 3);

    assert_eq!(up.get("/v1/tasks/1/result").await.json()["stdout"]["data"], "hi\n");
    let binary = up.get("/v1/tasks/2/result").await.json();
    assert_eq!((&binary["stdout"]["encoding"], &binary["stdout"]["data"]), (&json!("base64"), &json!("//4A")));
    assert_eq!(up.get("/v1/tasks/3").await.json()["attempts"][0]["outcome"]["exit_code"], 3);
    assert_eq!(up.get("/v1/tasks?limit=2").await.json()["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(up.get("/v1/nodes").await.json()["nodes"][0]["name"], "pi1");
    assert_eq!(up.get("/v1/status").await.json()["leader"]["name"], "pi1");
}

#[tokio::test]
async fn a_repeated_idempotency_key_makes_no_second_task() {
    let up = up();
    let body = json!([{ "command": ["echo"] }, { "command": ["echo"] }]).to_string();
    let again = async || up.send("POST", "/v1/tasks", "idempotency-key: nightly\r\n", body.as_bytes()).await.json();
    let first = again().await;
    let second = again().await;
    assert_eq!(first["tasks"], json!([{ "id": 1, "duplicate": false }, { "id": 2, "duplicate": false }]));
    assert_eq!(second["tasks"], json!([{ "id": 1, "duplicate": true }, { "id": 2, "duplicate": true }]));
    let odd = up.send("POST", "/v1/tasks", "idempotency-key: a b\r\n", br#"{"command":["echo"]}"#).await;
    assert!(odd.problem(400, "malformed").contains("idempotency key"));
}

#[tokio::test]
async fn cancel_and_retry_take_one_selector() {
    let up = up();
    up.post("/v1/tasks", &json!({ "command": ["sleep"] })).await;
    assert_eq!(up.post("/v1/tasks/cancel", &json!({ "ids": [1] })).await.json(), json!({ "tasks": [1] }));
    assert_eq!(up.post("/v1/tasks/retry", &json!({ "last": true })).await.json(), json!({ "tasks": [1] }));
    up.post("/v1/tasks/retry", &json!({ "from": 1, "to": 5 })).await;
    assert_eq!(up.fake.seen().last().unwrap(), &Request::Retry(TaskSelector::Range(TaskId(1), TaskId(5))));
    let both = up.post("/v1/tasks/cancel", &json!({ "last": true, "all": true })).await;
    assert!(both.problem(400, "malformed").contains("exactly one way"));
}

#[tokio::test]
async fn bad_requests_are_problems_in_words() {
    let up = up();
    let json = "content-type: application/json\r\n";
    assert!(up.send("POST", "/v1/tasks", json, b"{\"command\":").await.problem(400, "malformed").contains("EOF"));
    assert!(up.post("/v1/tasks", &json!({ "comand": ["x"] })).await.problem(400, "malformed").contains("comand"));
    assert!(up.get("/v1/task").await.problem(404, "no-route").contains("/v1/task"));
    assert!(up.send("DELETE", "/v1/tasks", "", b"").await.problem(405, "wrong-method").contains("DELETE"));
    assert!(up.get("/v1/tasks/seven").await.problem(400, "malformed").contains("ids are numbers"));
    assert_eq!(up.get("/v1/tasks/7").await.problem(404, "not-found"), "there is no task 7");
    assert_eq!(up.get("/v1/tasks/7/logs").await.problem(404, "not-found"), "there is no task 7");
    assert!(up.get("/v1/tasks?colour=red").await.problem(400, "malformed").contains("colour"));
    assert!(up.get("/v1/events?from=soon").await.problem(400, "malformed").contains("query string"));
    assert!(up.send("POST", "/v1/call", json, b"{}").await.problem(415, "media-type").contains("application/cbor"));
    up.post("/v1/tasks", &json!({ "command": ["sleep"] })).await;
    up.get("/v1/tasks/1/result").await.problem(409, "not-ended");
    let large = up.post("/v1/tasks", &json!({ "command": ["x"], "label": "too large" })).await;
    assert!(large.problem(413, "too-large").contains("the limit is 8"));
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_read_and_while_it_is() {
    let up = up();
    let announced = b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    assert!(up.raw(announced).await.problem(413, "too-large").contains("4194304"));
    let head = b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 1 << 20], b"\r\n"].concat();
    let grown = [head.as_slice(), &chunk.repeat(5), b"0\r\n\r\n"].concat();
    assert!(up.raw(&grown).await.problem(413, "too-large").contains("larger than the limit"));
    assert!(up.fake.seen().is_empty());
}

#[tokio::test]
async fn a_panic_fails_its_own_request_only() {
    let up = up();
    let failed = up.post("/v1/tasks", &json!({ "command": ["panic"] })).await;
    assert!(failed.problem(500, "internal").contains("a defect"));
    assert_eq!(up.get("/healthz").await.body, b"ok\n");
    assert_eq!(up.post("/v1/tasks", &json!({ "command": ["echo"] })).await.status, 200);
}

#[tokio::test]
async fn ready_means_a_leader_is_known() {
    let up = up();
    assert_eq!(up.get("/readyz").await.status, 200);
    up.fake.lose_leader();
    up.get("/readyz").await.problem(503, "no-leader");
    assert_eq!(up.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn logs_are_raw_bytes_from_an_offset_on() {
    let up = up();
    up.post("/v1/tasks", &json!({ "command": ["echo", "hello", "world"] })).await;
    assert_eq!(up.get("/v1/tasks/1/logs").await.body, b"hello world\n");
    let tail = up.get("/v1/tasks/1/logs?from=6&follow=true").await;
    assert_eq!(tail.body, b"world\n");
    assert!(tail.head.contains("dunlin-from: 6"), "{}", tail.head);
    up.post("/v1/tasks", &json!({ "command": ["fail", "1"] })).await;
    assert_eq!(up.get("/v1/tasks/2/logs?stream=stderr").await.body, b"no luck\n");
    // A task that is still running: what is there now, then the end.
    up.post("/v1/tasks", &json!({ "command": ["sleep"] })).await;
    assert_eq!(up.get("/v1/tasks/3/logs").await.body, b"");
}

#[tokio::test]
async fn events_resume_behind_the_last_one_seen() {
    let up = up();
    (1..=4).for_each(|number| up.fake.add_event(&format!("event {number}")));
    let ids = |reply: &Reply| -> Vec<String> {
        let text = String::from_utf8(reply.body.clone()).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("id: ").or(line.strip_prefix("id:")))
            .map(|id| id.trim().to_owned())
            .collect()
    };
    let all = up.get("/v1/events?follow=false").await;
    assert!(all.head.contains("content-type: text/event-stream"));
    assert_eq!(ids(&all), ["1", "2", "3", "4"]);
    assert_eq!(ids(&up.get("/v1/events?follow=false&from=3").await), ["3", "4"]);
    let resumed = up.send("GET", "/v1/events?follow=false&from=1", "last-event-id: 3\r\n", b"").await;
    assert_eq!(ids(&resumed), ["4"], "what the client has seen wins over where it began");
    let page = up.send("GET", "/v1/events?from=4", "accept: application/json\r\n", b"").await;
    assert_eq!(page.json()["events"][0]["text"], "event 4");
    up.send("GET", "/v1/events", "last-event-id: x\r\n", b"").await.problem(400, "malformed");
}

#[tokio::test]
async fn events_are_pushed_as_they_happen() {
    let up = up();
    let mut stream = UnixStream::connect(&up.path).await.unwrap();
    stream.write_all(b"GET /v1/events?from=0 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    up.fake.add_event("something new");
    let read = async {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.contains("something new") {
            let count = stream.read(&mut buffer).await.unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the event arrives while the stream is open");
}

#[tokio::test]
async fn the_librarys_client_gets_every_byte_and_typed_refusals() {
    let up = up();
    let client = Client::unix(&up.path).with_patience(Duration::ZERO);
    let mut spec = TaskSpec::command(["cat"]);
    spec.stdin = (0..=255u8).cycle().take(200_000).collect::<Vec<_>>().into();
    let sent = spec.stdin.clone();
    let task = client.submit(spec, None).await.unwrap().task;
    assert_eq!(client.wait(task).await.unwrap().stdin_len, 200_000);
    assert_eq!(client.result(task).await.unwrap().stdout.tail, sent);
    let missing = client.result(TaskId(99)).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no task 99");

    let echo = client.submit(TaskSpec::command(["echo", "one", "two"]), None).await.unwrap().task;
    let mut output = client.output(echo, OutputStream::Stdout, 0);
    let mut whole = Vec::new();
    while let Some(OutputPart::Bytes(bytes)) = output.next().await.unwrap() {
        whole.extend_from_slice(&bytes);
    }
    assert_eq!(whole, b"one two\n");
}

#[tokio::test]
async fn a_submission_is_repeated_under_its_key_through_the_real_face() {
    let up = up();
    let no_leader = ApiError::NoLeader { waited: Duration::ZERO, detail: "election".into() };
    up.fake.refuse(vec![no_leader.clone(), ApiError::Overloaded("queue full".into()), no_leader]);
    let client = Client::unix(&up.path);
    let submitted = client.submit(TaskSpec::command(["echo"]), None).await.unwrap();
    assert_eq!((submitted.task, submitted.duplicate), (TaskId(1), false));
    let seen = up.fake.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|request| request == &seen[0]));
}

#[tokio::test]
async fn the_socket_is_private_and_taken_over_only_from_the_dead() {
    let up = up();
    assert_eq!(std::fs::metadata(&up.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Server::bind(&up.path), Err(ListenError::InUse(_))));
    assert_eq!(up.get("/healthz").await.status, 200, "the running node was not disturbed");

    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("dunlin.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    assert!(Server::bind(&stale).is_ok(), "a dead process's socket is replaced");

    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(Server::bind(&file), Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let long = folder.path().join("x".repeat(120));
    assert!(matches!(Server::bind(&long), Err(ListenError::PathTooLong(_))));
}

#[tokio::test]
async fn a_stopped_server_leaves_no_socket_and_cuts_endless_streams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.sock");
    let server = Server::bind(&path).unwrap().serve(std::sync::Arc::new(Fake::default()));
    let mut endless = UnixStream::connect(&path).await.unwrap();
    endless.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 16];
    endless.read_exact(&mut first).await.unwrap();
    tokio::time::timeout(PATIENCE, server.stop()).await.expect("it does not wait for an endless stream");
    assert!(!path.exists());
}
