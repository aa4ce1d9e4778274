//! Clients of the simulated swarm: they submit with keys, try again, look, cancel and retry, and note what they were told.

use std::sync::Arc;
use std::time::Duration;

use dunlin_history as history;

use super::needs;
use super::random::Random;
use super::world::World;
use crate::api::{Request, Response, TaskSelector};
use crate::task::{IdempotencyKey, Limits, RetryPolicy, TaskId, TaskSpec};

/// How long a client waits for one answer; longer than a node does.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tries of one submission.
const TRIES: usize = 6;

/// One client.
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) random: Random,
    /// What its tasks need; apart, so that it moves nothing else.
    pub(super) needs: Random,
    pub(super) world: Arc<World>,
}

impl Client {
    /// Works until the chaos is over.
    pub(super) async fn run(mut self) {
        let (mut mine, mut sequence): (Vec<TaskId>, u64) = (Vec::new(), 0);
        while !self.world.calm() {
            let pause = self.random.millis(0, 400);
            tokio::time::sleep(pause).await;
            match self.random.below(10) {
                0..=6 => {
                    sequence += 1;
                    let tasks = self.submit(sequence).await;
                    mine.extend(tasks);
                }
                7 => self.act_on(&mine, Request::Cancel, history::Request::Cancel).await,
                8 => self.act_on(&mine, Request::Retry, history::Request::Retry).await,
                _ => self.look_at(&mine).await,
            }
        }
    }

    /// Submits one to five tasks, with the same keys again and again until they are acknowledged or it gives up: then they
    /// may or may not be there, and nothing is claimed.
    async fn submit(&mut self, sequence: u64) -> Vec<TaskId> {
        let count = 1 + self.random.below(5);
        let keys: Vec<String> = (0..count).map(|place| format!("c{}-{sequence}-{place}", self.number)).collect();
        let mut tasks = Vec::new();
        for key in &keys {
            let Ok(key) = key.parse::<IdempotencyKey>() else { return Vec::new() };
            tasks.push((self.spec(), Some(key)));
        }
        for _ in 0..TRIES {
            let asked = |key: &String| history::Request::Submit(key.clone());
            keys.iter().for_each(|key| self.world.history.invoked(asked(key)));
            let answer = self.ask(Request::Submit { tasks: tasks.clone() }).await;
            if let Some(Response::Submitted(ids)) = answer {
                let who = format!("c{}", self.number);
                for (key, (task, duplicate)) in keys.iter().zip(&ids) {
                    let again = if *duplicate { " (again)" } else { "" };
                    self.world.trace.line(&who, &format_args!("has {key} acknowledged as task {task}{again}"));
                    self.world.audit.acknowledged(key, *task);
                    self.world.history.answered(asked(key), history::Answer::Acknowledged(task.0));
                }
                return ids.into_iter().map(|(task, _)| task).collect();
            }
            keys.iter().for_each(|key| self.world.history.answered(asked(key), history::Answer::Maybe));
            if self.world.calm() {
                break;
            }
            let pause = self.random.millis(10, 300);
            tokio::time::sleep(pause).await;
        }
        Vec::new()
    }

    fn spec(&mut self) -> TaskSpec {
        let millis = self.random.below(400).to_string();
        let mut spec = match self.random.below(20) {
            0 => TaskSpec::command(["hang", "0"]),
            1 => TaskSpec::command(["vanish", &millis]),
            2..=4 => TaskSpec::command(["fail", &millis]),
            _ => TaskSpec::command(["finish", &millis]),
        };
        if self.random.chance(200)
            && let Ok(group) = "rare".parse()
        {
            spec.group = group;
        }
        spec.sandbox.need = needs::of_task(&self.world.plan, &mut self.needs);
        let wall = self.random.millis(500, 3_000);
        spec.limits = Limits { wall: Some(wall), ..Limits::default() };
        let backoff = self.random.millis(0, 800);
        spec.retry = RetryPolicy { backoff, backoff_max: Duration::from_secs(2), ..RetryPolicy::default() };
        spec
    }

    async fn act_on(&mut self, mine: &[TaskId], act: fn(TaskSelector) -> Request, asked: fn(u64) -> history::Request) {
        if mine.is_empty() {
            return;
        }
        let task = mine[self.random.place(mine.len())];
        let request = act(TaskSelector::Ids(vec![task]));
        self.world.trace.line(&format!("c{}", self.number), &format_args!("asks {request:?}"));
        self.world.history.invoked(asked(task.0));
        let answer = match self.ask(request).await {
            Some(Response::Applied(tasks)) if tasks.contains(&task) => history::Answer::Acknowledged(task.0),
            // Not applied, or not any more: an earlier try of the same request may have been.
            _ => history::Answer::Maybe,
        };
        self.world.history.answered(asked(task.0), answer);
    }

    /// What was acknowledged must be found, whoever is asked (H3).
    async fn look_at(&mut self, mine: &[TaskId]) {
        if mine.is_empty() {
            return;
        }
        let task = mine[self.random.place(mine.len())];
        if let Some(Response::Task(view)) = self.ask(Request::Task(task)).await {
            self.world.history.observed(view.task, &view.state);
            if view.task != task {
                self.world.audit.violation(&format!("asked for task {task}, answered with task {}", view.task));
            }
        }
    }

    /// Asks some node. No answer within patience, or from a node that dies meanwhile, is nothing known.
    async fn ask(&mut self, request: Request) -> Option<Response> {
        let node = self.world.any_node(&mut self.random);
        let life = self.world.life(node)?;
        let answer = tokio::select! {
            biased;
            () = life.ended() => return None,
            answer = tokio::time::timeout(PATIENCE, life.ask(request)) => answer.ok()?,
        };
        match answer {
            Ok(response) => Some(response),
            Err(error) => {
                self.world.refused(&format!("c{}", self.number), node, &error);
                None
            }
        }
    }
}
