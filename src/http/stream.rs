//! Routes that go on: a task's output as raw bytes, and the history as server-sent events.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response as HttpResponse};
use dunlin_node::api::{ApiError, EventView, OutputChunk, Request, Response, SharedApi};
use dunlin_node::sandbox::OutputStream;
use dunlin_node::task::{AttemptNumber, Fence, TaskId};
use futures::stream::{self, Stream};
use serde::Deserialize;

use super::answer::answer;
use super::problem::Problem;
use super::query::{Parameters, task_id};
use crate::json;

/// How long one question to the node waits for something new.
const POLL: Duration = Duration::from_secs(20);

/// Events asked for at once.
const PAGE: u32 = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    stream: Option<OutputStream>,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    follow: bool,
}

/// Raw bytes of one output from an offset on; with `follow=true` until the task has ended. The header `dunlin-from` says
/// where the bytes begin (later than asked for if the beginning was not kept). If another attempt takes over while it is
/// followed, its output comes next, from its beginning.
pub(super) async fn logs(
    State(api): State<SharedApi>,
    Path(id): Path<String>,
    Parameters(query): Parameters<LogsQuery>,
) -> Result<HttpResponse, Problem> {
    let task = task_id(&id)?;
    let stream = query.stream.unwrap_or(OutputStream::Stdout);
    let mut reader = LogReader { api, task, stream, next: query.from, run: None, follow: query.follow, ended: false };
    // The first piece is read before the answer begins, so that an unknown task is a proper 404.
    let first = reader.read(Duration::ZERO).await?;
    let begins = first.from.to_string();
    reader.advance(&first);
    let more = stream::unfold(reader, LogReader::step);
    let body = stream::StreamExt::chain(stream::iter([Ok::<_, ApiError>(first.bytes)]), more);
    let headers = [(header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()), ("dunlin-from", begins)];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct LogReader {
    api: SharedApi,
    task: TaskId,
    stream: OutputStream,
    next: u64,
    run: Option<(AttemptNumber, Option<Fence>)>,
    follow: bool,
    ended: bool,
}

impl LogReader {
    async fn read(&self, patience: Duration) -> Result<OutputChunk, ApiError> {
        let request = Request::Output { task: self.task, stream: self.stream, from: self.next, patience };
        match self.api.handle(request).await? {
            Response::Output(chunk) => Ok(chunk),
            other => Err(ApiError::Internal(format!("an output was answered with {other:?}"))),
        }
    }

    /// Moves behind the chunk. False if it belongs to another attempt, whose beginning must be read first.
    fn advance(&mut self, chunk: &OutputChunk) -> bool {
        let before = self.run;
        self.run = chunk.attempt.map(|attempt| (attempt, chunk.fence)).or(before);
        if before.is_some() && self.run != before && self.next > 0 {
            self.next = 0;
            return false;
        }
        self.next = chunk.from + chunk.bytes.len() as u64;
        self.ended = chunk.end || (!self.follow && chunk.bytes.is_empty());
        true
    }

    async fn step(mut self) -> Option<(Result<Bytes, ApiError>, Self)> {
        while !self.ended {
            let patience = if self.follow { POLL } else { Duration::ZERO };
            match self.read(patience).await {
                Ok(chunk) => {
                    if self.advance(&chunk) && !chunk.bytes.is_empty() {
                        return Some((Ok(chunk.bytes), self));
                    }
                }
                Err(error) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
            }
        }
        None
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    from: Option<u64>,
    follow: Option<bool>,
}

/// The history as server-sent events, each with its sequence number as id; a client that reconnects with `Last-Event-ID`
/// goes on behind it. `follow=false` stops at the newest; with `Accept: application/json` one page is answered.
pub(super) async fn events(
    State(api): State<SharedApi>,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    let resumed = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse::<u64>().ok());
            Some(id.ok_or_else(|| Problem::malformed("Last-Event-ID is not a number"))?.saturating_add(1))
        }
    };
    let from = resumed.or(query.from).unwrap_or(0);
    if headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json") {
        return answer(&api, Request::Events { from, limit: PAGE, patience: Duration::ZERO }).await;
    }
    let reader = EventReader { api, next: from, ready: VecDeque::new(), follow: query.follow.unwrap_or(true), failed: false };
    Ok(Sse::new(reader.stream()).keep_alive(KeepAlive::default()).into_response())
}

struct EventReader {
    api: SharedApi,
    next: u64,
    ready: VecDeque<EventView>,
    follow: bool,
    failed: bool,
}

impl EventReader {
    fn stream(self) -> impl Stream<Item = Result<Event, ApiError>> {
        stream::unfold(self, Self::step)
    }

    async fn step(mut self) -> Option<(Result<Event, ApiError>, Self)> {
        loop {
            if self.failed {
                return None;
            }
            if let Some(view) = self.ready.pop_front() {
                self.next = view.seq + 1;
                return Some((Ok(sse(&view)), self));
            }
            let patience = if self.follow { POLL } else { Duration::ZERO };
            let request = Request::Events { from: self.next, limit: PAGE, patience };
            match self.api.handle(request).await {
                Ok(Response::Events(events)) if events.is_empty() && !self.follow => return None,
                Ok(Response::Events(events)) => {
                    self.ready.extend(events.into_iter().filter(|event| event.seq >= self.next));
                }
                Ok(_) => return None,
                // Told as an event, then the stream ends: the client reconnects with the last id it has seen.
                Err(error) => {
                    self.failed = true;
                    return Some((Ok(Event::default().event("problem").data(error.to_string())), self));
                }
            }
        }
    }
}

fn sse(view: &EventView) -> Event {
    Event::default().id(view.seq.to_string()).data(json::event(view).to_string())
}
