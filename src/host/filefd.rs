//! /proc/sys/fs/file-nr: open files of the whole machine.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, gauge};
use super::read::{CollectError, KernelFile, number};

const ALLOCATED: Metric = gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
const MAXIMUM: Metric = gauge("node_filefd_maximum", "File descriptor statistics: maximum.");

pub(super) struct Filefd(KernelFile);

impl Filefd {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("sys/fs/file-nr")))
    }
}

impl Collect for Filefd {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        let mut words = text.split_ascii_whitespace().map(number);
        // The middle one is always 0.
        let (Some(Some(allocated)), Some(Some(_)), Some(Some(maximum))) =
            (words.next(), words.next(), words.next())
        else {
            return Err(self.0.malformed(text));
        };
        round.out.emit(&ALLOCATED, &[], allocated);
        round.out.emit(&MAXIMUM, &[], maximum);
        Ok(())
    }
}
