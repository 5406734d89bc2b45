//! The space of mounted file systems.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Emitter, Metric, gauge};
use super::filter::Filter;
use super::mounts::{Mount, parse, without_sandbox};
use super::read::{CollectError, KernelFile};
use super::statvfs::{Answer, Questions, ask, may_hang};

const SIZE: Metric = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.");
const FREE: Metric = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.");
const AVAILABLE: Metric =
    gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.");
const FILES: Metric = gauge("node_filesystem_files", "Filesystem total file nodes.");
const FILES_FREE: Metric = gauge("node_filesystem_files_free", "Filesystem total free file nodes.");
const READ_ONLY: Metric = gauge("node_filesystem_readonly", "Filesystem read-only status.");
const ERROR: Metric = gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
);
const MOUNT_INFO: Metric = gauge("node_filesystem_mount_info", "Filesystem mount information.");

pub(super) struct Filesystem {
    /// The mounts of the machine's first process, and our own for when those may not be seen.
    tables: [KernelFile; 2],
    rootfs: PathBuf,
    mount_points: Filter,
    fs_types: Filter,
    questions: Questions,
}

impl Filesystem {
    pub fn new(config: &HostConfig) -> Self {
        let fs = &config.filesystem;
        Self {
            tables: ["1/mountinfo", "self/mountinfo"].map(|n| KernelFile::new(config.procfs.join(n))),
            rootfs: config.rootfs.clone(),
            mount_points: Filter::new(fs.mount_points_include.clone(), fs.exclude_mount_points()),
            fs_types: Filter::new(fs.fs_types_include.clone(), fs.exclude_fs_types()),
            questions: Questions::new(fs.mount_timeout.to_std()),
        }
    }

    fn mounts(&mut self, buffer: &mut Vec<u8>) -> Result<Vec<Mount>, CollectError> {
        let [first, own] = &mut self.tables;
        let (table, sandboxed) = match first.read_bytes(buffer) {
            Ok(()) => (first, false),
            Err(_) => {
                own.read_bytes(buffer)?;
                (own, true)
            }
        };
        let mut mounts = Vec::new();
        for line in buffer.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let mut mount = parse(line).ok_or_else(|| table.malformed(&String::from_utf8_lossy(line)))?;
            mount.mount_point = without_root(&self.rootfs, mount.mount_point);
            mounts.push(mount);
        }
        if sandboxed {
            without_sandbox(&mut mounts);
        }
        let mut seen = HashSet::new();
        mounts.retain(|m| {
            self.mount_points.passes(&m.mount_point)
                && self.fs_types.passes(&m.fs_type)
                && seen.insert((m.device.clone(), m.mount_point.clone()))
        });
        self.mount_points.rest();
        self.fs_types.rest();
        Ok(mounts)
    }
}

impl Collect for Filesystem {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let mounts = self.mounts(round.buffer)?;
        let path = |m: &Mount| self.rootfs.join(m.mount_point.trim_start_matches('/'));
        for mount in mounts.iter().filter(|m| may_hang(&m.fs_type)) {
            self.questions.put(&path(mount));
        }
        let mut answers = self.questions.gather();
        for mount in &mounts {
            let path = path(mount);
            let answer =
                if may_hang(&mount.fs_type) { answers.remove(&path).flatten() } else { Some(ask(&path)) };
            if let Some(answer) = answer {
                show(&mut round.out, mount, &answer);
            }
        }
        Ok(())
    }
}

fn show(out: &mut Emitter<'_>, mount: &Mount, answer: &Answer) {
    let labels =
        [("device", &*mount.device), ("fstype", &*mount.fs_type), ("mountpoint", &*mount.mount_point)];
    let error = answer.as_ref().err().map_or("", String::as_str);
    let with_error = [labels[0], labels[1], labels[2], ("device_error", error)];
    out.emit(&ERROR, &with_error, f64::from(u8::from(answer.is_err())));
    out.emit(&READ_ONLY, &with_error, f64::from(u8::from(mount.read_only)));
    let Ok(space) = answer else { return };
    out.emit(&SIZE, &labels, space.size);
    out.emit(&FREE, &labels, space.free);
    out.emit(&AVAILABLE, &labels, space.available);
    out.emit(&FILES, &labels, space.files);
    out.emit(&FILES_FREE, &labels, space.files_free);
    let place =
        [labels[0], ("major", &*mount.major), ("minor", &*mount.minor), ("mountpoint", &*mount.mount_point)];
    out.emit(&MOUNT_INFO, &place, 1.0);
}

/// `/host/home` is `/home` when the machine's root is seen at `/host`.
fn without_root(rootfs: &Path, mount_point: String) -> String {
    if rootfs == Path::new("/") {
        return mount_point;
    }
    match Path::new(&mount_point).strip_prefix(rootfs) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => mount_point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_shown_as_the_machine_sees_them() {
        for (rootfs, mount_point, shown) in [
            ("/", "/home", "/home"),
            ("/host", "/host", "/"),
            ("/host", "/host/home", "/home"),
            ("/host", "/hosted", "/hosted"),
            ("/host", "/home", "/home"),
        ] {
            assert_eq!(without_root(Path::new(rootfs), mount_point.to_owned()), shown);
        }
    }
}
