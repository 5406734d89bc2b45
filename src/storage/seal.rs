//! From memory into files.

use std::io;
use std::path::PathBuf;

use crate::model::Timestamp;

use super::Storage;
use super::block::BlockWriter;
use super::disk::{Disk, Written};
use super::series::Chunk;

/// Series that are encoded or changed under one lock.
const SLICE: usize = 256;

/// Which chunks are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// All full ones.
    Full,
    /// Those that end at or before a time, full or not.
    Until(Timestamp),
}

impl Storage {
    /// Writes chunks into a block and lets go of them. Says how many, or which file failed.
    pub(super) fn seal(&self, disk: &Disk, what: Seal) -> Result<usize, (PathBuf, io::Error)> {
        let dir = disk.dir.join("blocks");
        let failed = |error| (dir.clone(), error);
        let mut writer = BlockWriter::new(&dir).map_err(failed)?;
        let mut sealed: Vec<(u32, Timestamp)> = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(SLICE) {
                next = id.checked_add(1);
                let fits = |chunk: &&Chunk| match (what, chunk.span(&head.columns)) {
                    (Seal::Until(t), Some((_, last))) => last <= t,
                    (Seal::Full, Some(_)) => true,
                    (_, None) => false,
                };
                let open = (what != Seal::Full && series.open.count() > 0).then_some(&series.open);
                let chunks: Vec<&Chunk> = series.closed.iter().chain(open).take_while(fits).collect();
                if let Some((_, last)) = chunks.last().and_then(|chunk| chunk.span(&head.columns)) {
                    writer.add(id, &chunks, &head.columns);
                    sealed.push((id, last));
                }
            }
            drop(head);
            if writer.is_due() {
                writer.flush().map_err(failed)?;
            }
        }
        if writer.is_empty() {
            return Ok(0);
        }
        self.sync_series(disk)?;
        let seq = disk.blocks().last().map_or(1, |b| b.seq + 1);
        let block = writer.finish(seq).map_err(failed)?;
        // Readers find the samples twice for a moment, never not at all.
        disk.wrote(Written::Block, &dir, Ok(()));
        disk.add_block(block);
        let mut dropped = 0;
        for some in sealed.chunks(SLICE) {
            let mut head = self.0.write();
            let head = &mut *head;
            for (id, last) in some {
                if let Some(series) = head.table.get_mut(*id) {
                    series.disk_until = series.disk_until.max(*last);
                    dropped += series.drop_until(&mut head.columns, *last);
                }
            }
        }
        Ok(dropped)
    }

    /// Makes sure that the label sets of what is sealed survive.
    fn sync_series(&self, disk: &Disk) -> Result<(), (PathBuf, io::Error)> {
        let mut logs = disk.logs();
        let written = disk.write_series(&mut logs);
        let (path, file) = (logs.series.path().to_owned(), logs.series.file());
        drop(logs);
        if !written {
            return Err((path, io::Error::other("the series log cannot be written")));
        }
        // Without a file nothing was written since the start.
        file.map_or(Ok(()), |file| file.sync_data()).map_err(|error| (path, error))
    }
}
