//! uname(2).

use super::collection::{Collect, Round};
use super::emitter::{Metric, gauge};
use super::read::CollectError;

const INFO: Metric =
    gauge("node_uname_info", "Labeled system information as provided by the uname system call.");

pub(super) struct Uname;

impl Collect for Uname {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let uname = rustix::system::uname();
        let labels = [
            ("sysname", uname.sysname().to_string_lossy()),
            ("release", uname.release().to_string_lossy()),
            ("version", uname.version().to_string_lossy()),
            ("machine", uname.machine().to_string_lossy()),
            ("nodename", uname.nodename().to_string_lossy()),
            ("domainname", uname.domainname().to_string_lossy()),
        ];
        round.out.emit(&INFO, &labels.each_ref().map(|(n, v)| (*n, v.as_ref())), 1.0);
        Ok(())
    }
}
