//! /proc/PID/mountinfo.

use std::collections::HashSet;

/// One mounted file system.
#[derive(Debug, PartialEq)]
pub(super) struct Mount {
    pub device: String,
    pub mount_point: String,
    pub fs_type: String,
    pub major: String,
    pub minor: String,
    /// The directory of the file system that is mounted; not `/` for a bind mount of a part.
    pub root: String,
    /// Read-only here.
    pub read_only: bool,
    /// Read-only wherever it is mounted.
    pub read_only_everywhere: bool,
}

/// Takes what a sandbox adds to its own view of the mounts: bind mounts of parts of file systems that are there
/// as a whole, and the read-only flag on everything.
pub(super) fn without_sandbox(mounts: &mut Vec<Mount>) {
    let id = |m: &Mount| (m.major.clone(), m.minor.clone());
    let whole: HashSet<_> = mounts.iter().filter(|m| m.root == "/").map(id).collect();
    mounts.retain(|m| m.root == "/" || !whole.contains(&id(m)));
    for mount in mounts {
        mount.read_only = mount.read_only_everywhere;
    }
}

/// Reads one line; `None` when it is not understood. Paths that are no UTF-8 keep their place with
/// replacement characters.
pub(super) fn parse(line: &[u8]) -> Option<Mount> {
    let line = String::from_utf8_lossy(line);
    // Fields of a mount: id, parent, major:minor, root, mount point, options, tags..., then after a dash
    // those of the file system: type, source, options.
    let (mount, fs) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (major, minor) = mount.next()?.split_once(':')?;
    let root = mount.next()?.to_owned();
    let mount_point = unescape(mount.next()?);
    let options = mount.next()?;
    let mut fs = fs.split(' ');
    let fs_type = fs.next().filter(|t| !t.is_empty())?.to_owned();
    let device = unescape(fs.next()?);
    let super_options = fs.next().unwrap_or_default();
    let is_ro = |options: &str| options.split(',').any(|o| o == "ro");
    let read_only_everywhere = is_ro(super_options);
    Some(Mount {
        device,
        mount_point,
        fs_type,
        major: major.into(),
        minor: minor.into(),
        root,
        read_only: read_only_everywhere || is_ro(options),
        read_only_everywhere,
    })
}

/// The kernel writes what would break the line as three octal digits (`\040` is a space).
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(byte as char);
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_does_not_show() {
        let lines: [&[u8]; 4] = [
            b"1 0 8:1 / / ro,relatime - ext4 /dev/sda1 rw,errors=remount-ro",
            b"2 1 8:1 /var/lib/private/sideband /var/lib/private/sideband rw - ext4 /dev/sda1 rw",
            b"3 1 8:2 /@home /home ro - btrfs /dev/sda2 rw",
            b"4 1 8:3 / /data ro - xfs /dev/sda3 ro",
        ];
        let mut mounts: Vec<Mount> = lines.iter().filter_map(|l| parse(l)).collect();
        without_sandbox(&mut mounts);
        let seen: Vec<_> = mounts.iter().map(|m| (m.mount_point.as_str(), m.read_only)).collect();
        assert_eq!(seen, [("/", false), ("/home", false), ("/data", true)]);
    }

    #[test]
    fn lines() {
        let m = parse(b"29 1 259:2 / /mnt/my\\040disk ro,relatime shared:1 - ext4 /dev/dm-2 rw,data=ordered")
            .unwrap();
        assert_eq!((m.mount_point.as_str(), m.fs_type.as_str(), m.read_only), ("/mnt/my disk", "ext4", true));
        assert_eq!((m.device.as_str(), m.major.as_str(), m.minor.as_str()), ("/dev/dm-2", "259", "2"));
        let m = parse(b"29 1 259:2 / / rw - ext4 /dev/root ro,errors=remount-ro").unwrap();
        assert!(m.read_only);
        for bad in
            [&b""[..], b"29 1 259 / / rw - ext4 x", b"29 1 259:2 / / rw", b"1 2 3:4 / - ext4 x", b" - "]
        {
            assert_eq!(parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(unescape("a\\134b\\9\\"), "a\\b\\9\\");
    }
}
