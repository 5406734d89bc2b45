//! The machine's time, its zone and its clock sources.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, gauge};
use super::read::{CollectError, read_trimmed};
use crate::model::Order as _;

const TIME: Metric = gauge("node_time_seconds", "System time in seconds since epoch (1970).");
const ZONE: Metric = gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.");
const AVAILABLE: Metric = gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
);
const CURRENT: Metric = gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
);

pub(super) struct Time {
    zone: TimeZone,
    folder: PathBuf,
    /// Number of the device, sources. They change so seldom that they are read once.
    sources: Option<Vec<(String, Vec<String>)>>,
}

impl Time {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            zone: TimeZone::system(),
            folder: config.sysfs.join("devices/system/clocksource"),
            sources: None,
        }
    }

    fn read_sources(&self) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten().take(64) {
            let name = entry.file_name();
            let Some(device) = name.to_str().and_then(|n| n.strip_prefix("clocksource")) else { continue };
            let available = read_trimmed(&entry.path().join("available_clocksource")).unwrap_or_default();
            let available = available.split_ascii_whitespace().map(str::to_owned).collect();
            found.push((device.to_owned(), available));
        }
        found.order();
        found
    }
}

impl Collect for Time {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        round.out.emit(&TIME, &[], round.now as f64 / 1000.0);
        if let Ok(now) = jiff::Timestamp::from_millisecond(round.now) {
            let info = self.zone.to_offset_info(now);
            let zone = [("time_zone", info.abbreviation())];
            round.out.emit(&ZONE, &zone, f64::from(info.offset().seconds()));
        }
        if self.sources.is_none() {
            self.sources = Some(self.read_sources());
        }
        for (device, sources) in self.sources.iter().flatten() {
            for source in sources {
                round.out.emit(&AVAILABLE, &[("device", device), ("clocksource", source)], 1.0);
            }
            let file = self.folder.join(format!("clocksource{device}/current_clocksource"));
            if let Ok(current) = read_trimmed(&file) {
                round.out.emit(&CURRENT, &[("device", device), ("clocksource", &current)], 1.0);
            }
        }
        Ok(())
    }
}
