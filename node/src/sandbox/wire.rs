//! What crosses between node, zygote and supervisor.
//!
//! To the zygote goes one packet for each supervisor that is wanted: a version byte, a byte that says how it is to be born,
//! and its end of a socket, its control line. On that the node sends the ground to prepare, then, as tasks come, an order
//! with the task's descriptors, each followed by at most one byte that ends the task; the supervisor sends one report each.
//! Frames are a length and CBOR, with a limit that is checked before anything is allocated.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sandbox::plan::FIRST_CLOSED_FD;
use crate::sandbox::shelter::Birth;
use crate::sandbox::spec::Launch;
use crate::task::{Outcome, Usage};

/// The largest frame, in bytes: beyond what the kernel takes as arguments and environment.
pub(in crate::sandbox) const MAX_FRAME: usize = 8 << 20;
/// The byte that cancels.
pub(in crate::sandbox) const CANCEL: u8 = b'C';
/// The byte that says that the outputs have passed their limit.
pub(in crate::sandbox) const FLOODED: u8 = b'O';
/// Descriptors with an order at most: stdin, stdout, stderr and, where there is one, the entrance of its cgroup.
const DESCRIPTORS: usize = 4;
/// The packet's first byte; both sides are the same binary, so another value is a fault.
const VERSION: u8 = 3;
/// In the place of a birth: look what this machine holds.
const PROBE: u8 = b'P';
/// Bytes of a packet.
const PACKET: usize = 2;

/// One task for a supervisor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Order {
    pub(in crate::sandbox) launch: Launch,
    /// The user that the task runs as; `None` is the node's own.
    pub(in crate::sandbox) user: Option<u32>,
}

/// What a zygote is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Wanted {
    /// A supervisor that is born like this.
    Supervisor(Birth),
    /// One that tries what this machine holds.
    Probe,
}

impl Wanted {
    fn byte(self) -> u8 {
        match self {
            Wanted::Supervisor(Birth::Fork) => b'F',
            Wanted::Supervisor(Birth::Namespaces) => b'N',
            Wanted::Supervisor(Birth::UserNamespace) => b'U',
            Wanted::Probe => PROBE,
        }
    }

    fn of(byte: u8) -> Option<Wanted> {
        let births = [Birth::Fork, Birth::Namespaces, Birth::UserNamespace].map(Wanted::Supervisor);
        births.into_iter().chain([Wanted::Probe]).find(|wanted| wanted.byte() == byte)
    }
}

/// What a supervisor reports.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Ended {
    pub(in crate::sandbox) outcome: Outcome,
    pub(in crate::sandbox) usage: Usage,
    /// Whether it takes another order.
    #[serde(default)]
    pub(in crate::sandbox) again: bool,
}

/// The descriptors of one launch, as the supervisor gets them.
#[derive(Debug)]
pub(in crate::sandbox) struct Lines {
    pub(in crate::sandbox) stdin: OwnedFd,
    pub(in crate::sandbox) stdout: OwnedFd,
    pub(in crate::sandbox) stderr: OwnedFd,
    /// Through which the target enters its cgroup.
    pub(in crate::sandbox) cgroup: Option<OwnedFd>,
}

/// Asks the zygote for a supervisor that has the other end of a control line; does not wait.
pub(in crate::sandbox) fn send_wanted(zygote: BorrowedFd<'_>, wanted: Wanted, control: BorrowedFd<'_>) -> rustix::io::Result<()> {
    send_with(zygote, &[VERSION, wanted.byte()], &[control]).map(drop)
}

/// Sends a framed order with its descriptors; does not wait. Answers how much of the frame is on its way.
pub(in crate::sandbox) fn send_order(control: BorrowedFd<'_>, frame: &[u8], lines: &Lines) -> rustix::io::Result<usize> {
    let mut fds = vec![lines.stdin.as_fd(), lines.stdout.as_fd(), lines.stderr.as_fd()];
    fds.extend(lines.cgroup.as_ref().map(AsFd::as_fd));
    send_with(control, frame, &fds)
}

fn send_with(to: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(fds));
    rustix::net::sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// Waits for an order; `None` if the node is gone or needs this supervisor no more.
pub(in crate::sandbox) fn recv_order(mut control: &File) -> io::Result<Option<(Order, Lines)>> {
    let mut head = [0; 4];
    let (bytes, fds) = rustix::io::retry_on_intr(|| recv_with(control.as_fd(), &mut head, RecvFlags::empty()))?;
    if bytes == 0 {
        return Ok(None);
    }
    control.read_exact(&mut head[bytes..])?;
    let mut body = vec![0; announced(head)?];
    control.read_exact(&mut body)?;
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(stdin), Some(stdout), Some(stderr)) => {
            Ok(Some((parse(&body)?, Lines { stdin, stdout, stderr, cgroup: fds.next() })))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an order without its descriptors")),
    }
}

fn recv_with(from: BorrowedFd<'_>, bytes: &mut [u8], flags: RecvFlags) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(from, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags)?;
    let mut fds = Vec::with_capacity(DESCRIPTORS);
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    let fds = fds.into_iter().map(above_standard).collect::<Result<_, _>>()?;
    Ok((message.bytes, fds))
}

/// A descriptor that is none of a program's first three. Whoever has none of these open is sent the next one as a number
/// that a target puts its own on: over itself, which leaves it to be closed at exec, or over another that it still needs.
fn above_standard(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_CLOSED_FD { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_CLOSED_FD) }
}

/// Says that the zygote is ready.
pub(in crate::sandbox) fn send_ready(node: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::net::send(node, &[VERSION], SendFlags::NOSIGNAL).map(drop)
}

/// Whether what came is the zygote's word that it is ready.
pub(in crate::sandbox) fn recv_ready(zygote: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut byte = [0];
    let (received, _) = rustix::net::recv(zygote, &mut byte, RecvFlags::DONTWAIT)?;
    Ok(received == 1 && byte[0] == VERSION)
}

/// What the zygote's socket gave.
pub(in crate::sandbox) enum Received {
    Wanted(Wanted, OwnedFd),
    /// The node's end is closed.
    End,
    /// Not what a node of this binary sends.
    Nonsense,
}

/// Receives one packet; does not wait.
pub(in crate::sandbox) fn recv_wanted(node: BorrowedFd<'_>) -> rustix::io::Result<Received> {
    let mut packet = [0; PACKET];
    let (bytes, fds) = recv_with(node, &mut packet, RecvFlags::DONTWAIT)?;
    Ok(match (bytes, packet[0], Wanted::of(packet[1]), fds.into_iter().next()) {
        (0, _, _, None) => Received::End,
        (PACKET, VERSION, Some(wanted), Some(control)) => Received::Wanted(wanted, control),
        _ => Received::Nonsense,
    })
}

/// Whether the other end of a socket is closed, or has sent what nobody asked for.
pub(in crate::sandbox) fn is_spoilt(socket: BorrowedFd<'_>) -> bool {
    let peeked = rustix::net::recv(socket, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(peeked, Err(rustix::io::Errno::AGAIN))
}

/// A message with its length before it.
pub(in crate::sandbox) fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    ciborium::into_writer(message, &mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    let length = checked_length(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The length that four bytes announce, if it is allowed.
pub(in crate::sandbox) fn announced(head: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    checked_length(length)?;
    Ok(length)
}

/// Reads a frame's message out of its body.
pub(in crate::sandbox) fn parse<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    ciborium::from_reader(body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
}

/// Reads one frame, waiting for it.
pub(in crate::sandbox) fn read_frame<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut body = vec![0; announced(head)?];
    from.read_exact(&mut body)?;
    parse(&body)
}

fn checked_length(length: usize) -> io::Result<u32> {
    match u32::try_from(length) {
        Ok(bytes) if length <= MAX_FRAME => Ok(bytes),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is over {MAX_FRAME}"))),
    }
}

/// Reads what node and supervisor say to each other; for the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn survives(bytes: &[u8]) {
    use crate::sandbox::shelter::Ground;
    if let Ok(ended) = read_frame::<Ended>(bytes) {
        let again = frame(&ended).expect("what was read can be written");
        assert_eq!(read_frame::<Ended>(&again[..]).ok(), Some(ended));
    }
    if let Ok(ground) = read_frame::<Ground>(bytes) {
        let again = frame(&ground).expect("what was read can be written");
        assert_eq!(read_frame::<Ground>(&again[..]).ok(), Some(ground));
    }
    if let Ok(order) = read_frame::<Order>(bytes) {
        let again = frame(&order).expect("what was read can be written");
        assert_eq!(read_frame::<Order>(&again[..]).ok(), Some(order));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::{Isolation, ResolvedLimits};
    use crate::task::strategies;

    fn order() -> impl Strategy<Value = Order> {
        let argv = prop::collection::vec(strategies::text(), 0..3);
        let env = prop::collection::btree_map(strategies::text(), strategies::text(), 0..3);
        let wall = prop::option::of(strategies::duration());
        (strategies::text(), argv, env, wall, any::<Option<u64>>()).prop_map(|(name, argv, env, wall, memory)| {
            let limits = ResolvedLimits { wall, memory, ..ResolvedLimits::default() };
            let launch = Launch { name, argv, env, scratch: "/tmp/x".into(), limits, isolation: Isolation::default() };
            Order { launch, user: Some(7) }
        })
    }

    fn ended() -> impl Strategy<Value = Ended> {
        (strategies::outcome(), strategies::usage()).prop_map(|(outcome, usage)| Ended { outcome, usage, again: true })
    }

    /// Frames of both ways, for the fuzz target to begin with.
    pub(crate) fn samples() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![order().prop_map(|order| frame(&order).unwrap()), ended().prop_map(|ended| frame(&ended).unwrap()),]
    }

    proptest! {
        #[test]
        fn launches_and_reports_come_back_as_they_were(order in order(), ended in ended()) {
            prop_assert_eq!(read_frame::<Order>(&frame(&order).unwrap()[..]).unwrap(), order);
            prop_assert_eq!(read_frame::<Ended>(&frame(&ended).unwrap()[..]).unwrap(), ended);
        }
    }

    #[test]
    fn reports_survive_the_way() {
        let usage = Usage { wall: Duration::from_millis(5), cpu: Duration::from_micros(7), memory_peak: 9, scratch_peak: 11 };
        let sent = Ended { outcome: Outcome::NotFound("`x` does not exist".to_owned()), usage, again: false };
        assert_eq!(read_frame::<Ended>(&frame(&sent).unwrap()[..]).unwrap(), sent);
    }

    #[test]
    fn oversize_and_cut_frames_are_refused_before_they_are_read() {
        assert!(announced(u32::MAX.to_le_bytes()).is_err());
        let frame = frame(&"hello").unwrap();
        assert!((0..frame.len()).all(|cut| read_frame::<String>(&frame[..cut]).is_err()));
    }
}
