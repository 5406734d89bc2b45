//! The metrics page: every series with a recent sample, in families, without timestamps.
//!
//! What can be done once for a series is done once: its rendered name and labels, its family and its place
//! on the page are kept from request to request, for each of the formats that somebody asks for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;

use super::negotiate::Negotiated;
use super::self_metrics::{OwnFamily, families};
use crate::exposition::placement::{Placement, place_openmetrics, place_text};
use crate::exposition::write::{push_header, push_series, push_value};
use crate::model::{Labels, METRIC_NAME, MetricType, Order as _, Timestamp, is_stale_nan, parse_float};
use crate::storage::Storage;

/// Labels that are added to every series that lacks them.
pub type ExternalLabels = Arc<[(String, String)]>;

/// How many layouts are kept: a scraper asks for one and the same format all the time.
const MAX_LAYOUTS: usize = 2;
/// How often a layout asks whether what is known of its metrics changed, in pages.
const METADATA_CHECK: u32 = 16;
/// Entries of series that are gone stay until there are this many and half as many as live ones.
const GONE_ALLOWED: usize = 256;

/// Renders the page, remembering what does not change.
#[derive(Default)]
pub struct MetricsPage {
    layouts: Mutex<Vec<(Negotiated, Layout)>>,
}

impl MetricsPage {
    /// The page as it is at `now` (ms): samples no older than `lookback` ms, and the registry's.
    pub fn render(
        &self,
        storage: &Storage,
        registry: &Registry,
        external: &ExternalLabels,
        negotiated: Negotiated,
        now: Timestamp,
        lookback: i64,
    ) -> Vec<u8> {
        // Take the layout out, so that a slow page does not hold up one of another format.
        let mut layout = {
            let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
            match layouts.iter().position(|(n, l)| *n == negotiated && Arc::ptr_eq(&l.external, external)) {
                Some(at) => layouts.swap_remove(at).1,
                None => Layout::new(negotiated, external.clone()),
            }
        };
        let page = layout.render(storage, families(registry, negotiated.is_openmetrics()), now, lookback);
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        layouts.retain(|(n, l)| *n != negotiated && Arc::ptr_eq(&l.external, external));
        layouts.truncate(MAX_LAYOUTS - 1);
        layouts.insert(0, (negotiated, layout));
        page
    }

    /// The registry's metrics alone.
    pub fn render_own(registry: &Registry, negotiated: Negotiated) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * 1024);
        for own in families(registry, negotiated.is_openmetrics()) {
            push_own_header(&mut out, &own, negotiated);
            out.extend_from_slice(own.lines.as_bytes());
        }
        push_end(&mut out, negotiated);
        out
    }
}

fn push_own_header(out: &mut Vec<u8>, own: &OwnFamily, n: Negotiated) {
    push_header(out, &own.name, own.kind, &own.help, &own.unit, n.is_openmetrics(), n.utf8_names);
}

fn push_end(out: &mut Vec<u8>, negotiated: Negotiated) {
    if negotiated.is_openmetrics() {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// The page in one format, without values.
struct Layout {
    negotiated: Negotiated,
    external: ExternalLabels,
    /// Metric name to its place and the number of its family.
    names: HashMap<String, (Placement, usize)>,
    /// Metric names that stand alone because their family's name is also another's.
    stepped_back: HashSet<String>,
    families: Vec<Family>,
    /// Where a series' labels lie in memory, to its entry. The entry keeps them there.
    by_labels: HashMap<usize, usize>,
    entries: Vec<Entry>,
    /// Entries in the order of the page.
    order: Vec<usize>,
    sorted: bool,
    /// The values of the page being made, by entry.
    values: Vec<Option<f64>>,
    pages: u32,
    last_len: usize,
}

struct Family {
    /// The name, for the order and for merging with own metrics.
    name: String,
    kind: MetricType,
    /// HELP, TYPE and UNIT lines.
    header: Vec<u8>,
}

struct Entry {
    labels: Labels,
    family: usize,
    rank: u8,
    /// The upper bound of a bucket or the quantile.
    bound: f64,
    /// `name{labels} `.
    prefix: Box<[u8]>,
}

impl Layout {
    fn new(negotiated: Negotiated, external: ExternalLabels) -> Self {
        Self {
            negotiated,
            external,
            names: HashMap::new(),
            stepped_back: HashSet::new(),
            families: Vec::new(),
            by_labels: HashMap::new(),
            entries: Vec::new(),
            order: Vec::new(),
            sorted: true,
            values: Vec::new(),
            pages: 0,
            last_len: 0,
        }
    }

    fn render(&mut self, storage: &Storage, own: Vec<OwnFamily>, now: Timestamp, lookback: i64) -> Vec<u8> {
        let min_t = now.saturating_sub(lookback);
        self.pages = self.pages.wrapping_add(1);
        if self.placements_changed(storage) {
            *self = Self::new(self.negotiated, self.external.clone());
        }
        let mut live = self.fill(storage, min_t);
        if self.entries.len() - live > GONE_ALLOWED.max(live / 2) {
            *self = Self::new(self.negotiated, self.external.clone());
            live = self.fill(storage, min_t);
        }
        debug_assert!(live <= self.entries.len());
        if !self.sorted {
            self.sort();
        }
        self.write(own)
    }

    /// Does anything that is known of the metrics now put them elsewhere?
    fn placements_changed(&self, storage: &Storage) -> bool {
        let all = self.pages.is_multiple_of(METADATA_CHECK);
        self.names.iter().filter(|(_, (p, _))| all || p.kind == MetricType::Unknown).any(
            |(name, (placement, _))| {
                // What had to step back for another family of its name is looked at when the layout is new.
                !self.stepped_back.contains(name) && self.place(storage, name) != *placement
            },
        )
    }

    fn place(&self, storage: &Storage, name: &str) -> Placement {
        let metadata = |family: &str| storage.metadata(family);
        match self.negotiated.is_openmetrics() {
            true => place_openmetrics(name, &metadata),
            false => place_text(name, &metadata),
        }
    }

    /// Takes the values of the page; says how many series have one.
    fn fill(&mut self, storage: &Storage, min_t: Timestamp) -> usize {
        self.values.clear();
        self.values.resize(self.entries.len(), None);
        let mut live = 0;
        storage.latest(min_t, |labels, sample| {
            if is_stale_nan(sample.v) {
                return;
            }
            let at = match self.by_labels.get(&address(labels)) {
                Some(&at) => at,
                None => self.add(storage, labels),
            };
            live += 1;
            self.values[at] = Some(sample.v);
        });
        live
    }

    fn add(&mut self, storage: &Storage, labels: &Labels) -> usize {
        let (family, rank) = self.family_of(storage, labels.metric_name());
        let openmetrics = self.negotiated.is_openmetrics();
        let mut prefix = Vec::with_capacity(128);
        push_series(&mut prefix, labels, &self.external, self.negotiated.utf8_names, openmetrics);
        prefix.push(b' ');
        let bound = ["le", "quantile"].into_iter().find_map(|n| labels.get(n)).and_then(parse_float);
        let at = self.entries.len();
        self.entries.push(Entry {
            labels: labels.clone(),
            family,
            rank,
            bound: bound.unwrap_or(f64::NAN),
            prefix: prefix.into(),
        });
        self.by_labels.insert(address(labels), at);
        self.order.push(at);
        self.values.push(None);
        self.sorted = false;
        at
    }

    fn family_of(&mut self, storage: &Storage, name: &str) -> (usize, u8) {
        if let Some((placement, family)) = self.names.get(name) {
            return (*family, placement.rank);
        }
        let placement = self.place(storage, name);
        let (family, rank) = (self.family(&placement), placement.rank);
        self.names.insert(name.to_owned(), (placement, family));
        (family, rank)
    }

    /// The number of the family of a placement.
    fn family(&mut self, p: &Placement) -> usize {
        self.families.iter().position(|f| f.name == p.family && f.kind == p.kind).unwrap_or_else(|| {
            let n = self.negotiated;
            let mut header = Vec::new();
            push_header(&mut header, &p.family, p.kind, &p.help, &p.unit, n.is_openmetrics(), n.utf8_names);
            self.families.push(Family { name: p.family.clone(), kind: p.kind, header });
            self.families.len() - 1
        })
    }

    /// One name is one family: where a counter `x_total` would be called `x` and there is a gauge `x`, the
    /// counter is exposed under its own name, without a type.
    fn resolve_clashes(&mut self) {
        let mut kinds: HashMap<&str, MetricType> = HashMap::new();
        let mut clashing: HashSet<String> = HashSet::new();
        for family in &self.families {
            if kinds.insert(&family.name, family.kind).is_some_and(|other| other != family.kind) {
                clashing.insert(family.name.clone());
            }
        }
        if clashing.is_empty() {
            return;
        }
        let names: Vec<String> = self
            .names
            .iter()
            .filter(|(name, (p, _))| clashing.contains(&p.family) && p.family != **name)
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let alone = Placement {
                family: name.clone(),
                kind: MetricType::Unknown,
                help: String::new(),
                unit: String::new(),
                rank: 0,
            };
            let family = self.family(&alone);
            for entry in self.entries.iter_mut().filter(|e| e.labels.metric_name() == name) {
                (entry.family, entry.rank) = (family, 0);
            }
            self.stepped_back.insert(name.clone());
            self.names.insert(name, (alone, family));
        }
    }

    fn sort(&mut self) {
        self.resolve_clashes();
        let (entries, families) = (&self.entries, &self.families);
        self.order.order_by(|&a, &b| {
            let (a, b) = (&entries[a], &entries[b]);
            families[a.family]
                .name
                .cmp(&families[b.family].name)
                .then_with(|| group(&a.labels).cmp(group(&b.labels)))
                .then(a.rank.cmp(&b.rank))
                .then(a.bound.total_cmp(&b.bound))
        });
        self.sorted = true;
    }

    fn write(&mut self, own: Vec<OwnFamily>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.last_len + self.last_len / 16 + 1024);
        let mut own = own.into_iter().peekable();
        let mut current = usize::MAX;
        let mut own_lines: Option<String> = None;
        for &at in &self.order {
            let Some(value) = self.values[at] else { continue };
            let entry = &self.entries[at];
            if entry.family != current {
                if let Some(lines) = own_lines.take() {
                    out.extend_from_slice(lines.as_bytes());
                }
                current = entry.family;
                let family = &self.families[current];
                while let Some(before) = own.next_if(|o| o.name < family.name) {
                    push_own_header(&mut out, &before, self.negotiated);
                    out.extend_from_slice(before.lines.as_bytes());
                }
                out.extend_from_slice(&family.header);
                own_lines = own.next_if(|o| o.name == family.name).map(|o| o.lines);
            }
            out.extend_from_slice(&entry.prefix);
            push_value(&mut out, value);
            out.push(b'\n');
        }
        if let Some(lines) = own_lines {
            out.extend_from_slice(lines.as_bytes());
        }
        for rest in own {
            push_own_header(&mut out, &rest, self.negotiated);
            out.extend_from_slice(rest.lines.as_bytes());
        }
        push_end(&mut out, self.negotiated);
        self.last_len = out.len();
        out
    }
}

/// What the samples of one histogram or summary have in common.
fn group(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter(|(n, _)| !matches!(*n, METRIC_NAME | "le" | "quantile"))
}

/// Where the labels lie. No two live label sets share it, and it costs less to look up than the labels do.
fn address(labels: &Labels) -> usize {
    labels.as_bytes().as_ptr() as usize
}
