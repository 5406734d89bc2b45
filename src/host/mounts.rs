//! /proc/PID/mountinfo.

/// One mounted file system.
#[derive(Debug, PartialEq)]
pub(super) struct Mount {
    pub device: String,
    pub mount_point: String,
    pub fs_type: String,
    pub major: String,
    pub minor: String,
    pub read_only: bool,
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
    let _root = mount.next()?;
    let mount_point = unescape(mount.next()?);
    let options = mount.next()?;
    let mut fs = fs.split(' ');
    let fs_type = fs.next().filter(|t| !t.is_empty())?.to_owned();
    let device = unescape(fs.next()?);
    let super_options = fs.next().unwrap_or_default();
    let read_only = options.split(',').chain(super_options.split(',')).any(|o| o == "ro");
    Some(Mount { device, mount_point, fs_type, major: major.into(), minor: minor.into(), read_only })
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
