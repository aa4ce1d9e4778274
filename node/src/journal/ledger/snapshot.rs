//! A ledger as a file and back: a versioned head, every row of every table, a checksum. Neither way holds it in memory.
//!
//! Layout, all numbers little-endian: magic (8) · format (4) · size of the head (4) · head (CBOR) · rows · 255 ·
//! number of rows (8) · checksum of everything before it (8). A row: table (1) · size of key (4) · key · size of value (4) · value.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use super::layout::Layout;
use super::tables::every_table;
use super::{Ledger, LedgerError, meta, tables};
use crate::journal::codec;
use crate::journal::engine::SnapshotMeta;
use crate::journal::log_writer::checksum;
use crate::journal::store;

const MAGIC: [u8; 8] = *b"dunlins1";
/// The only layout that this version reads and the one it writes: its rows are those of the tables.
const FORMAT: u32 = 2;
const END: u8 = 255;
const TOO_SHORT: &str = "it ends too early";
/// Neither head nor row is larger.
const PIECE_MAX: usize = 64 << 20;
/// Bytes of rows that one transaction of an installation holds before the next one begins.
const INSTALL_BYTES: usize = 8 << 20;

impl Ledger {
    /// Writes this ledger as of now; returns what the snapshot holds.
    pub(in crate::journal) fn export(&self, path: &Path) -> Result<SnapshotMeta, LedgerError> {
        let read = self.begin()?;
        let progress: super::Progress = meta::get(&read.open_table(tables::META)?, meta::PROGRESS)?;
        let index = progress.applied.map_or(0, |id| id.index);
        let term = progress.applied.map_or(0, |id| id.leader_id.term);
        let meta = SnapshotMeta {
            last_log_id: progress.applied,
            last_membership: progress.membership,
            snapshot_id: format!("{term}-{index}"),
        };
        let mut out = Out::new(File::create(path)?);
        let head = codec::encode(&meta)?;
        out.put(&MAGIC)?;
        out.put(&FORMAT.to_le_bytes())?;
        out.piece(&head)?;
        let rows = dump(&read, &mut out)?;
        out.put(&[END])?;
        out.put(&rows.to_le_bytes())?;
        let file = out.finish()?;
        self.0.written.add(file.metadata()?.len());
        file.sync_all()?;
        Ok(meta)
    }

    /// Replaces this ledger by the one in a snapshot's file. A damaged file changes nothing.
    pub(in crate::journal) fn import(&self, path: &Path) -> Result<SnapshotMeta, LedgerError> {
        verify(path)?;
        let fresh = self.replacement_path();
        if let Err(error) = std::fs::remove_file(&fresh)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let config = &self.0.config;
        let database = store::open(config, &fresh, config.ledger_cache, &self.0.written)
            .map_err(|error| LedgerError::File(io::Error::other(error)))?;
        super::create(&database)?;
        let meta = load(&database, In::open(path)?)?;
        let mut unsaved = self.unsaved();
        let mut current = self.0.database.write().unwrap_or_else(PoisonError::into_inner);
        std::fs::rename(&fresh, config.ledger_path())?;
        // Readers that began before go on with the file that no longer has a name.
        *current = Some(Arc::new(database));
        *unsaved = super::Unsaved::default();
        Ok(meta)
    }
}

/// What a finished snapshot's file holds, if it is whole.
pub(in crate::journal) fn verify(path: &Path) -> Result<SnapshotMeta, LedgerError> {
    check(In::open(path)?)
}

fn check(mut input: In<impl Read>) -> Result<SnapshotMeta, LedgerError> {
    let meta = input.head()?;
    let mut rows = 0;
    while input.row()?.is_some() {
        rows += 1;
    }
    input.end(rows)?;
    Ok(meta)
}

fn dump(read: &ReadTransaction, out: &mut Out) -> Result<u64, LedgerError> {
    let mut rows = 0;
    macro_rules! dump {
        ($number:literal, $table:expr) => {
            rows += dump_table($number, &read.open_table($table)?, out)?;
        };
    }
    every_table!(dump);
    Ok(rows)
}

fn dump_table<K: Key + 'static, V: Value + 'static>(
    number: u8,
    table: &impl ReadableTable<K, V>,
    out: &mut Out,
) -> Result<u64, LedgerError> {
    let mut rows = 0;
    for row in table.iter()? {
        let (key, value) = row?;
        out.put(&[number])?;
        out.piece(K::as_bytes(&key.value()).as_ref())?;
        out.piece(V::as_bytes(&value.value()).as_ref())?;
        rows += 1;
    }
    Ok(rows)
}

fn load(database: &redb::Database, mut input: In<impl Read>) -> Result<SnapshotMeta, LedgerError> {
    let meta = input.head()?;
    let mut more = true;
    while more {
        let mut write = database.begin_write()?;
        write.set_quick_repair(true);
        let mut bytes = 0;
        while bytes < INSTALL_BYTES && more {
            match input.row()? {
                Some(number) => {
                    bytes += input.key.len() + input.value.len();
                    insert(&write, number, &input.key, &input.value)?;
                }
                None => more = false,
            }
        }
        write.commit()?;
    }
    Ok(meta)
}

fn insert(write: &WriteTransaction, number: u8, key: &[u8], value: &[u8]) -> Result<(), LedgerError> {
    macro_rules! insert {
        ($number:literal, $table:expr) => {
            if number == $number {
                return insert_row(write, $table, key, value);
            }
        };
    }
    every_table!(insert);
    Err(LedgerError::Snapshot(format!("unknown table {number}")))
}

/// A checksum is no proof of what made it: the bytes are looked at before redb takes them for its own.
fn insert_row<K: Key + Layout + 'static, V: Layout + 'static>(
    write: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
    key: &[u8],
    value: &[u8],
) -> Result<(), LedgerError> {
    if !K::fits(key) || !V::fits(value) {
        return Err(LedgerError::Snapshot(format!("a row that can't be one of {table}")));
    }
    write.open_table(table)?.insert(K::from_bytes(key), V::from_bytes(value))?;
    Ok(())
}

/// A file being written, with the running checksum of it.
struct Out {
    file: BufWriter<File>,
    sum: u64,
}

impl Out {
    fn new(file: File) -> Self {
        Out { file: BufWriter::with_capacity(256 << 10, file), sum: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = self.sum.rotate_left(1) ^ checksum(bytes);
        self.file.write_all(bytes)
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a row is too large for a snapshot"))?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn finish(mut self) -> io::Result<File> {
        self.file.write_all(&self.sum.to_le_bytes())?;
        self.file.into_inner().map_err(|error| error.into_error())
    }
}

/// A file being read, with the running checksum of it and the row that was read last.
struct In<R> {
    file: R,
    sum: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl In<BufReader<File>> {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(In::new(BufReader::with_capacity(256 << 10, File::open(path)?)))
    }
}

impl<R: Read> In<R> {
    fn new(file: R) -> Self {
        In { file, sum: 0, key: Vec::new(), value: Vec::new() }
    }

    fn take(&mut self, out: &mut [u8]) -> Result<(), LedgerError> {
        self.file.read_exact(out).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LedgerError::Snapshot(TOO_SHORT.to_owned()),
            _ => LedgerError::File(error),
        })?;
        self.sum = self.sum.rotate_left(1) ^ checksum(out);
        Ok(())
    }

    fn number(&mut self) -> Result<u32, LedgerError> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn piece(&mut self, mut out: Vec<u8>) -> Result<Vec<u8>, LedgerError> {
        let length = self.number()? as usize;
        if length > PIECE_MAX {
            return Err(LedgerError::Snapshot(format!("a piece of {length} bytes; the limit is {PIECE_MAX}")));
        }
        out.clear();
        // Grows with what is really there: a short file that announces much costs nothing.
        let read = self.file.by_ref().take(length as u64).read_to_end(&mut out).map_err(LedgerError::File)?;
        if read < length {
            return Err(LedgerError::Snapshot(TOO_SHORT.to_owned()));
        }
        self.sum = self.sum.rotate_left(1) ^ checksum(&out);
        Ok(out)
    }

    fn head(&mut self) -> Result<SnapshotMeta, LedgerError> {
        let mut magic = [0; 8];
        self.take(&mut magic)?;
        if magic != MAGIC {
            return Err(LedgerError::Snapshot("it is not a snapshot of a dunlin ledger".to_owned()));
        }
        let format = self.number()?;
        if format != FORMAT {
            return Err(LedgerError::Snapshot(format!("format {format}; this version knows {FORMAT}")));
        }
        Ok(codec::decode(&self.piece(Vec::new())?)?)
    }

    /// Reads the next row into `key` and `value`; its table's number, or nothing at the end.
    fn row(&mut self) -> Result<Option<u8>, LedgerError> {
        let mut number = [0];
        self.take(&mut number)?;
        if number[0] == END {
            return Ok(None);
        }
        let (key, value) = (std::mem::take(&mut self.key), std::mem::take(&mut self.value));
        self.key = self.piece(key)?;
        self.value = self.piece(value)?;
        Ok(Some(number[0]))
    }

    fn end(&mut self, rows: u64) -> Result<(), LedgerError> {
        let mut counted = [0; 8];
        self.take(&mut counted)?;
        let sum = self.sum;
        let mut written = [0; 8];
        self.take(&mut written)?;
        if u64::from_le_bytes(counted) != rows || u64::from_le_bytes(written) != sum {
            return Err(LedgerError::Snapshot("its checksum is wrong".to_owned()));
        }
        Ok(())
    }
}

/// What a snapshot of these bytes does, whether or not its checksum is right: for the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::journal) fn read_bytes(bytes: &[u8]) -> [Result<SnapshotMeta, LedgerError>; 2] {
    let memory = redb::backends::InMemoryBackend::new();
    let database = redb::Builder::new().set_cache_size(1 << 20).create_with_backend(memory);
    let database = database.expect("a database in memory is made");
    let loaded = super::create(&database).and_then(|()| load(&database, In::new(bytes)));
    [check(In::new(bytes)), loaded]
}

/// A snapshot's bytes that hold these rows, whatever they are, with a right checksum.
#[cfg(test)]
pub(super) fn forged(rows: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    let mut out = Out::new(File::create(&path).unwrap());
    let meta = SnapshotMeta { snapshot_id: "0-0".to_owned(), ..SnapshotMeta::default() };
    out.put(&MAGIC).unwrap();
    out.put(&FORMAT.to_le_bytes()).unwrap();
    out.piece(&codec::encode(&meta).unwrap()).unwrap();
    for (number, key, value) in rows {
        out.put(&[*number]).unwrap();
        out.piece(key).unwrap();
        out.piece(value).unwrap();
    }
    out.put(&[END]).unwrap();
    out.put(&(rows.len() as u64).to_le_bytes()).unwrap();
    out.finish().unwrap();
    std::fs::read(path).unwrap()
}
