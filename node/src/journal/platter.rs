//! A disk in memory for the simulator: a live image that programs see, a durable one that a power cut leaves.
//!
//! Writes enter the live image and stay in doubt until they are synced. A killed process loses nothing; a power cut keeps
//! of the writes in doubt whatever chance says, also halves. It can fill up, fail to sync, and die in the middle of its
//! n-th write. Chance is told from outside; nothing here reads a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::StorageBackend;

use super::config::OpenBackend;

/// Draws a number below the given one (which is not 0).
pub(crate) type Draw<'a> = &'a mut dyn FnMut(u64) -> u64;

/// The disk of one node; clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Platter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By the number that stands in the real file of their name.
    files: BTreeMap<u64, Image>,
    /// The number of the newest file.
    newest: u64,
    /// Every name that was ever opened.
    names: BTreeSet<PathBuf>,
    /// Grows with each start of the node: what an older life still holds can touch nothing.
    life: u64,
    full: bool,
    sync_fails: bool,
    /// What each write to the log takes beside its ordinary time.
    slowness: Duration,
    /// Writes until the power goes, in the middle of one.
    until_cut: Option<u64>,
    /// Whether it has gone in that way.
    cut: bool,
    faults: Faults,
}

/// How often each fault has really been met, for the statistics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Writes that a power cut dropped.
    pub(crate) dropped: u64,
    /// Writes of which a part was kept.
    pub(crate) torn: u64,
    /// Bits flipped.
    pub(crate) flipped: u64,
    /// Syncs and writes refused.
    pub(crate) refused: u64,
}

#[derive(Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    doubtful: Vec<Doubt>,
}

enum Doubt {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Doubt {
    fn apply(&self, image: &mut Vec<u8>, keep: usize) {
        match self {
            Doubt::Length(length) => image.resize(*length, 0),
            Doubt::Write { offset, bytes } => {
                let end = offset + keep.min(bytes.len());
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Doubt::Write { bytes, .. } => bytes.len(),
            Doubt::Length(_) => 0,
        }
    }
}

/// What redb holds of one file in one life of the node.
struct Handle {
    platter: Platter,
    file: u64,
    life: u64,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Platter {
    /// Begins a new life of the node and gives it its way to open files. Names are the real file system's: a real file that
    /// holds nothing but a number marks each that exists, so that removing or renaming it there does the same here, and whoever
    /// has a file open keeps that file, whatever its name means by now. A file whose every name was never opened is forgotten.
    pub(crate) fn begin(&self) -> OpenBackend {
        let life = {
            let mut state = self.state();
            state.life += 1;
            (state.cut, state.until_cut) = (false, None);
            let named = state.named();
            state.files.retain(|number, _| named.contains(number));
            state.life
        };
        let platter = self.clone();
        Arc::new(move |path: &Path| {
            let file = platter.state().number(path)?;
            Ok(Box::new(Handle { platter: platter.clone(), file, life }))
        })
    }

    /// The process is killed: nothing of its life reaches the disk any more, everything written stays.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        for image in state.files.values_mut() {
            image.durable.clone_from(&image.live);
            image.doubtful.clear();
        }
    }

    /// The power goes: of what was not synced, each write survives whole, in part or not at all.
    pub(crate) fn cut_power(&self, draw: Draw<'_>) {
        let mut state = self.state();
        state.life += 1;
        let State { files, faults, .. } = &mut *state;
        for image in files.values_mut() {
            for doubt in std::mem::take(&mut image.doubtful) {
                match draw(4) {
                    0 | 1 => doubt.apply(&mut image.durable, usize::MAX),
                    2 if doubt.len() > 0 => {
                        let keep = usize::try_from(draw(doubt.len() as u64)).unwrap_or(0);
                        doubt.apply(&mut image.durable, keep);
                        faults.torn += 1;
                    }
                    _ => faults.dropped += 1,
                }
            }
            image.live.clone_from(&image.durable);
        }
    }

    /// Flips one bit of the files that have any; only while no life goes on.
    pub(crate) fn flip_bit(&self, draw: Draw<'_>) {
        let mut state = self.state();
        let named = state.named();
        let State { files, faults, .. } = &mut *state;
        let filled = files.iter_mut().filter(|(number, image)| named.contains(number) && !image.live.is_empty());
        let filled: Vec<&mut Image> = filled.map(|(_, image)| image).collect();
        if filled.is_empty() {
            return;
        }
        let which = usize::try_from(draw(filled.len() as u64)).unwrap_or(0);
        if let Some(image) = filled.into_iter().nth(which) {
            let bit = draw(image.live.len() as u64 * 8);
            let byte = usize::try_from(bit / 8).unwrap_or(0);
            image.live[byte] ^= 1 << (bit % 8);
            image.durable.clone_from(&image.live);
            faults.flipped += 1;
        }
    }

    /// From now on there is no room for more, or there is again.
    pub(crate) fn fill_up(&self, full: bool) {
        self.state().full = full;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state().full
    }

    /// From now on syncs fail, or succeed again.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.state().sync_fails = fail;
    }

    /// From now on each write to the log takes so much longer.
    pub(crate) fn slow_down(&self, by: Duration) {
        self.state().slowness = by;
    }

    pub(crate) fn slowness(&self) -> Duration {
        self.state().slowness
    }

    /// The power will not go in the middle of a write after all.
    pub(crate) fn spare(&self) {
        self.state().until_cut = None;
    }

    /// The power goes in the middle of the n-th write from now; [`Platter::is_cut`] says that it has.
    pub(crate) fn cut_in_write(&self, writes: u64) {
        self.state().until_cut = Some(writes);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state().cut
    }

    pub(crate) fn faults(&self) -> Faults {
        self.state().faults
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Does something with the file, if this life still goes on.
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.platter.state();
        if state.life != self.life || state.cut {
            return Err(io::Error::other("this process has ended"));
        }
        act(&mut state, self.file)
    }
}

/// The number in the real file of a name, if there is one.
fn marked(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

fn missing() -> io::Error {
    io::Error::other("the file was removed")
}

impl State {
    /// The number of the file of a name; of a new file if there is none.
    fn number(&mut self, path: &Path) -> io::Result<u64> {
        self.names.insert(path.to_owned());
        if let Some(number) = marked(path) {
            return Ok(number);
        }
        self.newest += 1;
        std::fs::write(path, self.newest.to_string())?;
        self.files.insert(self.newest, Image::default());
        Ok(self.newest)
    }

    /// The files that have a name.
    fn named(&self) -> BTreeSet<u64> {
        self.names.iter().filter_map(|path| marked(path)).collect()
    }

    fn refuse<T>(&mut self, error: io::Error) -> io::Result<T> {
        self.faults.refused += 1;
        Err(error)
    }

    fn doubt(&mut self, file: u64, doubt: Doubt) -> io::Result<()> {
        let length = self.files.get(&file).ok_or_else(missing)?.live.len();
        let grows = match &doubt {
            Doubt::Write { offset, bytes } => offset + bytes.len() > length,
            Doubt::Length(new) => *new > length,
        };
        if grows && self.full {
            return self.refuse(io::Error::from(io::ErrorKind::StorageFull));
        }
        if let Some(left) = self.until_cut {
            self.until_cut = left.checked_sub(1);
            self.cut = left == 0;
        }
        let image = self.files.get_mut(&file).ok_or_else(missing)?;
        doubt.apply(&mut image.live, usize::MAX);
        image.doubtful.push(doubt);
        if self.cut { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, io::Error> {
        self.with(|state, file| Ok(state.files.get(&file).ok_or_else(missing)?.live.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.with(|state, file| {
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            let live = &state.files.get(&file).ok_or_else(missing)?.live;
            let bytes = live.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let length = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|state, file| state.doubt(file, Doubt::Length(length)))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.with(|state, file| {
            if state.sync_fails {
                return state.refuse(io::Error::other("the disk failed to sync"));
            }
            let image = state.files.get_mut(&file).ok_or_else(missing)?;
            for doubt in image.doubtful.drain(..) {
                doubt.apply(&mut image.durable, usize::MAX);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|state, file| state.doubt(file, Doubt::Write { offset, bytes: data.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_a_power_cut_and_an_ended_life_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (platter, path) = (Platter::default(), folder.path().join("file"));
        let file = platter.begin()(&path).unwrap();
        file.set_len(8).unwrap();
        file.write(0, b"kept").unwrap();
        file.sync_data().unwrap();
        file.write(0, b"lost").unwrap();
        platter.cut_power(&mut |_| 3);
        assert!(file.write(0, b"late").is_err());
        let again = platter.begin()(&path).unwrap();
        let mut read = [0; 4];
        again.read(0, &mut read).unwrap();
        assert_eq!(&read, b"kept");
        again.write(0, b"live").unwrap();
        platter.kill();
        platter.begin()(&path).unwrap().read(0, &mut read).unwrap();
        assert_eq!(&read, b"live", "a killed process loses nothing");
        assert_eq!((platter.faults().dropped, platter.faults().torn), (1, 0));
    }

    #[test]
    fn an_open_file_stays_what_it_is_when_its_name_is_given_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let (platter, new, lasting) = (Platter::default(), folder.path().join("new"), folder.path().join("lasting"));
        let open = platter.begin();
        drop(open(&lasting).unwrap());
        let first = open(&new).unwrap();
        first.write(0, b"first").unwrap();
        std::fs::rename(&new, &lasting).unwrap();
        let second = open(&new).unwrap();
        second.write(0, b"other").unwrap();
        // As a database does that is dropped after another has taken its place.
        first.write(0, b"FIRST").unwrap();
        let mut read = [0; 5];
        second.read(0, &mut read).unwrap();
        assert_eq!(&read, b"other");
        platter.kill();
        platter.begin()(&lasting).unwrap().read(0, &mut read).unwrap();
        assert_eq!(&read, b"FIRST", "the name goes with the file");
        std::fs::rename(&new, &lasting).unwrap();
        platter.begin()(&lasting).unwrap().read(0, &mut read).unwrap();
        assert_eq!(&read, b"other");
        assert_eq!(platter.state().files.len(), 1, "what has no name is forgotten with the life that had it open");
    }

    #[test]
    fn a_full_disk_takes_no_more_and_a_cut_in_a_write_ends_the_life() {
        let folder = tempfile::tempdir().unwrap();
        let (platter, path) = (Platter::default(), folder.path().join("file"));
        let file = platter.begin()(&path).unwrap();
        file.set_len(4).unwrap();
        platter.fill_up(true);
        file.write(0, b"fits").unwrap();
        assert_eq!(file.set_len(8).unwrap_err().kind(), io::ErrorKind::StorageFull);
        platter.fill_up(false);
        platter.cut_in_write(1);
        file.write(0, b"last").unwrap();
        assert!(file.write(0, b"torn").is_err() && platter.is_cut());
        assert!(file.sync_data().is_err());
    }
}
