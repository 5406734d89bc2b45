//! From a page to samples: known lines by their bytes, new ones through labels and relabelling.

use super::cache::{Kind, KnownLines};
use super::job::ScrapeJob;
use super::metrics::{Limit, Reason, ScrapeMetrics};
use super::relabel::{NameValidation, relabel};
use crate::exposition::{Entry, Format, Scanner};
use crate::model::{
    Labels, METRIC_NAME, MetricMetadata, Timestamp, is_legacy_label_name, is_legacy_metric_name,
    is_stale_nan, stale_nan,
};
use crate::storage::{AppendError, Appender, SeriesId, Storage};

/// Timestamps of targets may be so far in the future (ms), as in Prometheus.
const MAX_AHEAD_MS: i64 = 600_000;

/// What a page held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples on the page.
    pub scraped: u64,
    /// Of them, those left after relabelling.
    pub kept: u64,
    /// Series that were not known before.
    pub series_added: u64,
    pub out_of_bounds: u64,
    pub out_of_order: u64,
    pub duplicates: u64,
}

/// What the page is read for.
pub struct Ingest<'a> {
    pub job: &'a ScrapeJob,
    pub target_labels: &'a Labels,
    pub storage: &'a Storage,
    pub metrics: &'a ScrapeMetrics,
    /// When the target was scraped, ms.
    pub t: Timestamp,
}

/// Reads the pages of one target one after the other, with what it remembers of the last ones.
#[derive(Debug)]
pub struct PageReader {
    known: KnownLines,
}

impl Default for PageReader {
    fn default() -> Self {
        Self { known: KnownLines::new() }
    }
}

impl PageReader {
    /// Puts the samples of a page, scraped at `t` (ms), into the batch, the ends of series that are no
    /// longer on it too.
    ///
    /// # Errors
    /// The page is not valid or exceeds a limit of the job, in Prometheus' words. The batch must be
    /// thrown away then; [`Self::failed`] ends the series.
    pub fn read(
        &mut self,
        ingest: &Ingest<'_>,
        page: &[u8],
        format: Format,
        appender: &mut Appender<'_>,
    ) -> (Counts, Result<(), String>) {
        let (counts, result) = ingest.page(page, format, &mut self.known, appender);
        if result.is_ok() {
            self.known.finish(true, |id| end_series(appender, id, ingest.t));
        }
        (counts, result)
    }

    /// There was no good page at `t` (ms): all series that were there end.
    pub fn failed(&mut self, appender: &mut Appender<'_>, t: Timestamp) {
        self.known.begin();
        self.known.finish(false, |id| end_series(appender, id, t));
    }
}

struct Page<'a, 'b, 's> {
    ingest: &'a Ingest<'a>,
    known: &'b mut KnownLines,
    appender: &'b mut Appender<'s>,
    counts: Counts,
    over_sample_limit: bool,
    metadata: Option<(String, MetricMetadata)>,
}

impl Ingest<'_> {
    fn page(
        &self,
        page: &[u8],
        format: Format,
        known: &mut KnownLines,
        appender: &mut Appender<'_>,
    ) -> (Counts, Result<(), String>) {
        known.begin();
        let mut state = Page {
            ingest: self,
            known,
            appender,
            counts: Counts::default(),
            over_sample_limit: false,
            metadata: None,
        };
        let mut result = state.read(Scanner::new(page, format));
        state.flush_metadata();
        if result.is_ok() && state.over_sample_limit {
            self.metrics.limits_exceeded.get_or_create(&Limit { limit: "samples" }).inc();
            result = Err("sample limit exceeded".into());
        }
        let counts = state.counts;
        for (reason, n) in [
            ("out_of_bounds", counts.out_of_bounds),
            ("out_of_order", counts.out_of_order),
            ("duplicate", counts.duplicates),
        ] {
            if n > 0 {
                self.metrics.samples_dropped.get_or_create(&Reason { reason }).inc_by(n);
            }
        }
        if counts.out_of_bounds + counts.out_of_order + counts.duplicates > 0 {
            tracing::warn!(
                job = self.job.name,
                out_of_bounds = counts.out_of_bounds,
                out_of_order = counts.out_of_order,
                duplicates = counts.duplicates,
                "samples of a scrape were dropped"
            );
        }
        (counts, result)
    }

    /// The labels under which a series is stored; `None` when relabelling drops it.
    fn labels(&self, exposed: &Labels) -> Result<Option<Labels>, String> {
        let with_target = target_labels(exposed, self.target_labels, self.job.honor_labels);
        let Some(labels) = relabel(&with_target, &self.job.metric_relabel).filter(|l| !l.is_empty()) else {
            return Ok(None);
        };
        let name = labels.metric_name();
        if name.is_empty() {
            return Err("missing metric name (__name__ label)".into());
        }
        let legal = match self.job.names {
            NameValidation::Utf8 => labels.iter().all(|(n, _)| !n.is_empty()),
            NameValidation::Legacy => {
                is_legacy_metric_name(name) && labels.iter().all(|(n, _)| is_legacy_label_name(n))
            }
        };
        if !legal {
            return Err(format!("invalid metric name or label names: {labels}"));
        }
        self.label_limits(&labels)?;
        Ok(Some(labels))
    }

    fn label_limits(&self, labels: &Labels) -> Result<(), String> {
        let job = self.job;
        let exceeded = |message: String| {
            self.metrics.limits_exceeded.get_or_create(&Limit { limit: "labels" }).inc();
            Err(message)
        };
        let short = |text: &str| text.chars().take(50).collect::<String>();
        let metric = short(labels.metric_name());
        let over = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
        if over(labels.len(), job.label_limit) {
            return exceeded(format!(
                "label_limit exceeded (metric: {metric}, number of labels: {}, limit: {})",
                labels.len(),
                job.label_limit
            ));
        }
        for (name, value) in labels.iter() {
            if over(name.len(), job.label_name_length_limit) {
                return exceeded(format!(
                    "label_name_length_limit exceeded (metric: {metric}, label name: {}, length: {}, limit: {})",
                    short(name),
                    name.len(),
                    job.label_name_length_limit
                ));
            }
            if over(value.len(), job.label_value_length_limit) {
                return exceeded(format!(
                    "label_value_length_limit exceeded (metric: {metric}, label name: {}, value: {:?}, length: {}, limit: {})",
                    short(name),
                    short(value),
                    value.len(),
                    job.label_value_length_limit
                ));
            }
        }
        Ok(())
    }
}

impl Page<'_, '_, '_> {
    fn read(&mut self, mut scanner: Scanner<'_>) -> Result<(), String> {
        loop {
            if self.known_line(&mut scanner) {
                continue;
            }
            match scanner.next() {
                None => return Ok(()),
                Some(Err(e)) => return Err(e.message),
                Some(Ok(entry)) => self.entry(&scanner, entry)?,
            }
        }
    }

    /// Reads the next line if it is known: the one that is expected, or else by its hash.
    #[inline]
    fn known_line(&mut self, scanner: &mut Scanner<'_>) -> bool {
        if let Some((number, text, kind)) = self.known.predicted() {
            match kind {
                Kind::Series(_) | Kind::Dropped => {
                    if let Some((value, timestamp)) = scanner.next_known(text) {
                        self.sample(number, kind, value, timestamp);
                        return true;
                    }
                }
                Kind::Comment | Kind::Type(_) => {
                    if scanner.skip_known_line(text) {
                        self.known.visit(number, false);
                        if let Kind::Type(kind) = kind {
                            scanner.set_kind(kind);
                        }
                        return true;
                    }
                }
            }
        }
        self.looked_up(scanner)
    }

    fn looked_up(&mut self, scanner: &mut Scanner<'_>) -> bool {
        let Some(line) = scanner.peek_line() else { return false };
        if line.first() == Some(&b'#') {
            let Some((number, kind)) = self.known.find(line) else { return false };
            if matches!(kind, Kind::Series(_) | Kind::Dropped) || !scanner.skip_known_line(line) {
                return false;
            }
            self.known.visit(number, false);
            if let Kind::Type(kind) = kind {
                scanner.set_kind(kind);
            }
            return true;
        }
        let Some(text) = scanner.peek_series() else { return false };
        let Some((number, kind)) = self.known.find(text) else { return false };
        if matches!(kind, Kind::Comment | Kind::Type(_)) {
            return false;
        }
        let Some((value, timestamp)) = scanner.next_known(text) else { return false };
        self.sample(number, kind, value, timestamp);
        true
    }

    fn entry(&mut self, scanner: &Scanner<'_>, entry: Entry<'_>) -> Result<(), String> {
        let kind = match entry {
            Entry::Series(series) => {
                let (number, kind) = match self.known.find(series.text) {
                    Some(found) => found,
                    None => {
                        let exposed = scanner.labels().map_err(|e| e.to_string())?;
                        let kind = self.resolve(&exposed)?;
                        let Some(kind) = kind else { return Ok(()) };
                        if matches!(kind, Kind::Series(_)) {
                            self.counts.series_added += 1;
                        }
                        (self.known.insert(series.text, kind), kind)
                    }
                };
                self.sample(number, kind, series.value, series.timestamp);
                return Ok(());
            }
            Entry::Help { metric, help } => {
                self.metadata(&metric).help = help.into_owned();
                Kind::Comment
            }
            Entry::Unit { metric, unit } => {
                self.metadata(&metric).unit = unit.into_owned();
                Kind::Comment
            }
            Entry::Type { metric, kind } => {
                self.metadata(&metric).kind = kind;
                Kind::Type(kind)
            }
            // Comments may hold anything; they are not worth memory.
            Entry::Comment(_) => return Ok(()),
        };
        let line = scanner.last_line();
        if !line.is_empty() && self.known.find(line).is_none() {
            let number = self.known.insert(line, kind);
            self.known.visit(number, false);
        }
        Ok(())
    }

    /// The series of exposed labels; `None` when the storage is full (the sample is counted as dropped).
    fn resolve(&mut self, exposed: &Labels) -> Result<Option<Kind>, String> {
        let Some(labels) = self.ingest.labels(exposed)? else { return Ok(Some(Kind::Dropped)) };
        match self.appender.series(&labels) {
            Ok(id) => Ok(Some(Kind::Series(id))),
            Err(_) => {
                self.counts.scraped += 1;
                self.counts.kept += 1;
                self.ingest.metrics.samples_dropped.get_or_create(&Reason { reason: "series_limit" }).inc();
                Ok(None)
            }
        }
    }

    #[inline]
    fn sample(&mut self, number: u32, kind: Kind, value: f64, timestamp: Option<Timestamp>) {
        self.counts.scraped += 1;
        let timestamp = timestamp.filter(|_| self.ingest.job.honor_timestamps);
        let untracked = timestamp.is_some() && !self.ingest.job.track_timestamps_staleness;
        let first = self.known.visit(number, untracked);
        let Kind::Series(id) = kind else { return };
        self.counts.kept += 1;
        let limit = self.ingest.job.sample_limit;
        if limit > 0 && self.counts.kept > limit && !is_stale_nan(value) {
            self.over_sample_limit = true;
            return;
        }
        if !first && timestamp.is_none() {
            self.counts.duplicates += 1;
            return;
        }
        let t = timestamp.unwrap_or(self.ingest.t);
        if t > self.ingest.t.saturating_add(MAX_AHEAD_MS) {
            self.counts.out_of_bounds += 1;
            return;
        }
        if let Err(error) = self.appender.append(id, t, value) {
            self.refused(number, error, t, value);
        }
    }

    #[cold]
    fn refused(&mut self, number: u32, error: AppendError, t: Timestamp, value: f64) {
        match error {
            AppendError::OutOfOrder => self.counts.out_of_order += 1,
            AppendError::DuplicateTimestamp => self.counts.duplicates += 1,
            AppendError::OutOfBounds => self.counts.out_of_bounds += 1,
            _ => self.again(number, t, value),
        }
    }

    /// The storage has let go of the series since the line was seen: it becomes a new one.
    fn again(&mut self, number: u32, t: Timestamp, value: f64) {
        let mut line = self.known.text(number).to_vec();
        line.extend_from_slice(b" 0\n");
        let mut scanner = Scanner::new(&line, Format::Text);
        let read = matches!(scanner.next(), Some(Ok(Entry::Series(_))));
        let Some(exposed) = scanner.labels().ok().filter(|_| read) else { return };
        if let Ok(Some(kind)) = self.resolve(&exposed) {
            self.known.set_kind(number, kind);
            if let Kind::Series(id) = kind {
                let _ = self.appender.append(id, t, value);
            }
        }
    }

    /// The metadata of the family that is being read, to be changed.
    fn metadata(&mut self, metric: &str) -> &mut MetricMetadata {
        if self.metadata.as_ref().is_none_or(|(name, _)| name != metric) {
            self.flush_metadata();
        }
        let storage = self.ingest.storage;
        let (_, metadata) = self
            .metadata
            .get_or_insert_with(|| (metric.to_owned(), storage.metadata(metric).unwrap_or_default()));
        metadata
    }

    fn flush_metadata(&mut self) {
        if let Some((metric, metadata)) = self.metadata.take() {
            self.ingest.storage.set_metadata(&metric, metadata);
        }
    }
}

/// Puts the target's labels to those that it exposed. With `honor` the exposed ones win; otherwise they
/// are kept as `exported_…`.
pub(super) fn target_labels(exposed: &Labels, target: &Labels, honor: bool) -> Labels {
    let mut labels = exposed.to_builder();
    let mut conflicts: Vec<(&str, &str)> = Vec::new();
    for (name, value) in target.iter() {
        match exposed.get(name) {
            Some(_) if honor => {}
            Some(old) => {
                conflicts.push((name, old));
                labels.set(name, value);
            }
            None => {
                labels.set(name, value);
            }
        }
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = name.to_owned();
        loop {
            name.insert_str(0, "exported_");
            if labels.get(&name).is_none() {
                break;
            }
        }
        labels.set(&name, value);
    }
    labels.build()
}

/// A series that the scrape itself makes, such as `up`.
pub(super) fn report_labels(name: &str, target: &Labels) -> Labels {
    target_labels(&Labels::from_pairs([(METRIC_NAME, name)]), target, false)
}

/// Marks the end of a series; one that is newer already stays.
pub(super) fn end_series(appender: &mut Appender<'_>, id: SeriesId, t: Timestamp) {
    let _ = appender.append(id, t, stale_nan());
}
