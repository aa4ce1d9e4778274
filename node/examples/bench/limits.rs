//! The machine's own limits, taken in the same run: what no swarm on it can beat.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use redb::{Database, Durability, TableDefinition};

use crate::{Failure, line, quantile};

/// Records of a group, and bytes of a record, for the limit that W1 is compared with.
const GROUP: usize = 64;
const RECORD: usize = 200;
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

pub(crate) fn run(folder: &Path) -> Result<(), Failure> {
    let mut syncs = syncs(folder)?;
    line("limit-fdatasync", "p50", syncs.len(), quantile(&mut syncs, 0.5), "us");
    line("limit-fdatasync", "p99", syncs.len(), quantile(&mut syncs, 0.99), "us");
    let mut trips = round_trips()?;
    let trip = quantile(&mut trips, 0.5);
    line("limit-tcp", "p50", trips.len(), trip, "us");
    let mut commits = redb_commits(folder)?;
    let commit = quantile(&mut commits, 0.5);
    line("limit-redb-1", "p50", commits.len(), commit, "us");
    // What W3 can't beat: two entries, one after the other, each on the leader's disk and then on a follower's.
    line("limit-two-entries", "p50", commits.len(), 2.0 * (2.0 * commit + trip) / 1_000.0, "ms");
    let spawned = 600;
    line("limit-spawn", "2-threads", spawned, spawns(spawned)?, "processes/s");
    let (records, rate) = redb_groups(folder)?;
    line("limit-redb-64", "1-node", records, rate, "records/s");
    Ok(())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// A page written and synced, in a file that has its size already.
fn syncs(folder: &Path) -> Result<Vec<f64>, Failure> {
    const ROUNDS: u64 = 1_000;
    let file = File::options().create(true).truncate(true).write(true).open(folder.join("sync"))?;
    let page = [7_u8; 4_096];
    for index in 0..64 {
        file.write_all_at(&page, index * 4_096)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        file.write_all_at(&page, round % 64 * 4_096)?;
        file.sync_data()?;
        times.push(micros(began));
    }
    Ok(times)
}

/// One byte there and back over loopback.
fn round_trips() -> Result<Vec<f64>, Failure> {
    const ROUNDS: usize = 3_000;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut byte = [0_u8; 1];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (began, mut byte) = (Instant::now(), [1_u8]);
        near.write_all(&byte)?;
        near.read_exact(&mut byte)?;
        times.push(micros(began));
    }
    drop(near);
    echo.join().map_err(|_| "the echo panicked")?;
    Ok(times)
}

/// `/bin/true` started and waited for on two threads; a second.
fn spawns(count: usize) -> Result<f64, Failure> {
    let began = Instant::now();
    let half = move || (0..count / 2).try_for_each(|_| Command::new("/bin/true").status().map(drop));
    let other = std::thread::spawn(half);
    half()?;
    other.join().map_err(|_| "a thread panicked")??;
    Ok(rate(count, began.elapsed()))
}

/// Durable commits of one record each.
fn redb_commits(folder: &Path) -> Result<Vec<f64>, Failure> {
    const ROUNDS: u64 = 1_000;
    let database = Database::create(folder.join("single.redb"))?;
    let record = [9_u8; RECORD];
    let mut times = Vec::new();
    for next in 0..ROUNDS {
        let began = Instant::now();
        let mut write = database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.open_table(TABLE)?.insert(next, &record[..])?;
        write.commit()?;
        times.push(micros(began));
    }
    Ok(times)
}

/// Durable commits of [`GROUP`] records each, with the database's defaults, for a second.
fn redb_groups(folder: &Path) -> Result<(usize, f64), Failure> {
    let database = Database::create(folder.join("limit.redb"))?;
    let record = [9_u8; RECORD];
    let (began, mut next) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(2) {
        let mut write = database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut table = write.open_table(TABLE)?;
            for _ in 0..GROUP {
                table.insert(next, &record[..])?;
                next += 1;
            }
        }
        write.commit()?;
    }
    let records = usize::try_from(next)?;
    Ok((records, rate(records, began.elapsed())))
}

/// So many in this time, a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let count = count as f64;
    count / time.as_secs_f64()
}
