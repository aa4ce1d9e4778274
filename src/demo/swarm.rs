//! The demo's nodes together: started so that they find each other, asked as anybody would, and told about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dunlin_node::api::{MemberState, StatusView};
use dunlin_node::client::Client;
use dunlin_node::task::{NodeId, Term};
use tokio::sync::{mpsc, watch};

use super::child::{Child, Line, Role, Said, Start};
use super::folder::Folder;
use super::stage::Stage;
use crate::exit::Failure;

/// Lines of children that wait to be told.
const LINES: usize = 1024;

/// How long a child may take until it can be reached, and the swarm until it has a leader and all its nodes.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at a status. The demo asks from outside, where nothing tells it of a change.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is known of a child from its own lines.
#[derive(Clone, Debug, Default)]
struct Known {
    life: u32,
    ready: Option<(NodeId, String)>,
    ended: bool,
}

/// Who leads.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    pub(super) node: NodeId,
    pub(super) term: Term,
    pub(super) why: String,
}

pub(super) struct Swarm<'a> {
    folder: &'a Folder,
    roles: Vec<Role>,
    children: Vec<Child>,
    lives: Vec<u32>,
    clients: Vec<Client>,
    known: watch::Receiver<Vec<Known>>,
    said: mpsc::Sender<Said>,
    names: Names,
}

/// Which node is called what; shared with the teller.
type Names = Arc<Mutex<Vec<(NodeId, String)>>>;

impl<'a> Swarm<'a> {
    /// Starts the first node, learns its address, and starts the others with it as their peer.
    pub(super) async fn start(count: u32, folder: &'a Folder, stage: &Stage) -> Result<Self, Failure> {
        let (said, heard) = mpsc::channel(LINES);
        let (knows, known) = watch::channel(vec![Known::default(); count as usize]);
        let names = Names::default();
        let role = |number: u32| Role {
            index: number as usize - 1,
            name: format!("n{number}"),
            rank: number * 10,
            expect: count,
            data: folder.path().join(format!("n{number}")),
        };
        let roles: Vec<Role> = (1..=count).map(role).collect();
        tokio::spawn(tell(heard, knows, names.clone(), roles.iter().map(|role| role.name.clone()).collect(), stage.clone()));
        let clients = roles.iter().map(|role| Client::unix(role.data.join("dunlin.sock")).with_patience(Duration::ZERO));
        let clients = clients.collect();
        let mut swarm =
            Swarm { folder, roles, children: Vec::new(), lives: vec![0; count as usize], clients, known, said, names };
        swarm.launch(0, "127.0.0.1:0", &[]).await?;
        let first: Vec<String> = swarm.children[0].address.iter().cloned().collect();
        for index in 1..count as usize {
            swarm.spawn(index, "127.0.0.1:0", &first)?;
        }
        for index in 1..count as usize {
            swarm.until_ready(index).await?;
        }
        Ok(swarm)
    }

    /// Starts one child and waits until it can be reached.
    async fn launch(&mut self, index: usize, listen: &str, peers: &[String]) -> Result<(), Failure> {
        self.spawn(index, listen, peers)?;
        self.until_ready(index).await
    }

    fn spawn(&mut self, index: usize, listen: &str, peers: &[String]) -> Result<(), Failure> {
        let role = &self.roles[index];
        self.lives[index] += 1;
        let start = Start { life: self.lives[index], listen, peers };
        let child = Child::start(role, &start, self.folder, self.said.clone());
        let child =
            child.map_err(|error| Failure::error(format!("{} could not be started", role.name)).why(error.to_string()))?;
        if index < self.children.len() {
            self.children[index] = child;
        } else {
            self.children.push(child);
        }
        Ok(())
    }

    async fn until_ready(&mut self, index: usize) -> Result<(), Failure> {
        // What its last life said does not count.
        let life = self.lives[index];
        let is_decided = |all: &Vec<Known>| all[index].life == life && (all[index].ready.is_some() || all[index].ended);
        let waited = tokio::time::timeout(START_LIMIT, self.known.wait_for(is_decided)).await;
        let known = match waited {
            Ok(Ok(all)) => all[index].clone(),
            _ => Known::default(),
        };
        let Some((node, address)) = known.ready else {
            return Err(
                Failure::error(format!("{} did not start", self.roles[index].name)).why(self.children[index].last_words())
            );
        };
        self.children[index].node = Some(node);
        self.children[index].address = Some(address);
        Ok(())
    }

    /// Waits until a leader is known everywhere and counts all nodes as live.
    pub(super) async fn settled(&self) -> Result<Leading, Failure> {
        let looking = async {
            loop {
                if let Some(leader) = self.agreed().await {
                    return leader;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(START_LIMIT, looking).await.map_err(|_| {
            Failure::error(format!("the nodes did not agree on a leader within {} s", START_LIMIT.as_secs()))
                .next("--keep keeps the nodes' folders with their logs")
        })
    }

    async fn agreed(&self) -> Option<Leading> {
        let mut leader: Option<Leading> = None;
        for client in &self.clients {
            let seen = leading(&client.status().await.ok()?)?;
            if leader.as_ref().is_some_and(|leader| leader.node != seen.node) {
                return None;
            }
            leader = Some(seen);
        }
        let live = self.clients.first()?.nodes().await.ok()?.iter().filter(|view| view.state == MemberState::Live).count();
        // The reason is the leader's own word: it acts.
        leader.filter(|leader| live == self.clients.len() && !leader.why.is_empty())
    }

    pub(super) fn clients(&self) -> Vec<Client> {
        self.clients.clone()
    }

    pub(super) fn client(&self, index: usize) -> &Client {
        &self.clients[index]
    }

    /// The statuses of all nodes but one, of those that answer.
    pub(super) async fn statuses_without(&self, left_out: usize) -> Vec<StatusView> {
        let others = self.clients.iter().enumerate().filter(|(index, _)| *index != left_out);
        futures::future::join_all(others.map(|(_, client)| client.status())).await.into_iter().filter_map(Result::ok).collect()
    }

    /// Which of the children that node is.
    pub(super) fn index_of(&self, node: NodeId) -> Option<usize> {
        self.children.iter().position(|child| child.node == Some(node))
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        name(&self.names, node)
    }

    /// Nodes and their names in order.
    pub(super) fn nodes(&self) -> Vec<(NodeId, String)> {
        let all = self.children.iter().zip(&self.roles);
        all.filter_map(|(child, role)| Some((child.node?, role.name.clone()))).collect()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, index: usize) -> Result<u32, Failure> {
        let child = &mut self.children[index];
        let pid = child.pid();
        child.kill().map_err(|error| Failure::error("the leader could not be killed").why(error.to_string()))?;
        Ok(pid)
    }

    /// Starts a dead node again with its folder and its address.
    pub(super) async fn restart(&mut self, index: usize) -> Result<(), Failure> {
        let address = self.children[index].address.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let others = self.children.iter().enumerate().filter(|(other, _)| *other != index);
        let peers: Vec<String> = others.filter_map(|(_, child)| child.address.clone()).collect();
        self.launch(index, &address, &peers).await
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        // All are told first, so that they end side by side.
        self.children.iter_mut().for_each(Child::dismiss);
    }
}

/// The leader that a status names.
pub(super) fn leading(view: &StatusView) -> Option<Leading> {
    view.leader.as_ref().map(|leader| Leading { node: leader.node, term: view.term, why: leader.why.clone() })
}

fn name(names: &Names, node: NodeId) -> String {
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    names.iter().find(|(known, _)| *known == node).map_or_else(|| node.to_string(), |(_, name)| name.clone())
}

/// Keeps what children say of themselves and tells the story. Each thing is told once: by the node that it is about.
async fn tell(
    mut heard: mpsc::Receiver<Said>,
    knows: watch::Sender<Vec<Known>>,
    names: Names,
    called: Vec<String>,
    stage: Stage,
) {
    while let Some(Said { child, life, line }) = heard.recv().await {
        match line {
            // The end of an earlier life may be heard after the beginning of the next.
            None if knows.borrow()[child].life > life => {}
            None => knows.send_modify(|all| all[child] = Known { life, ready: None, ended: true }),
            Some(Line::Ready { node, listen }) => {
                let Ok(node) = node.parse::<NodeId>() else { continue };
                let address = listen.first().cloned().unwrap_or_default();
                names.lock().unwrap_or_else(PoisonError::into_inner).push((node, called[child].clone()));
                stage.say(&format!("  {}: listens on {address}", called[child]));
                knows.send_modify(|all| all[child] = Known { life, ready: Some((node, address)), ended: false });
            }
            // Who sees whom is twenty lines of no news among five nodes.
            Some(Line::Narration { kind, .. }) if matches!(kind.as_str(), "peer_up" | "member") => {}
            Some(Line::Narration { node, kind: _, text }) => {
                let own = knows.borrow()[child].ready.as_ref().map(|(own, _)| own.to_string());
                if own.is_none_or(|own| own == node) {
                    stage.say(&format!("  {}: {text}", called[child]));
                }
            }
            Some(Line::Other) => {}
        }
    }
}
