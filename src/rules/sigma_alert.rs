//! The alerts of sigma rules: which bands are one, their labels, and the sentences that explain them.

use std::collections::BTreeSet;

use crate::model::{Labels, Timestamp, format_float};
use crate::sigma::{Action, Evaluation, Judgement, Model, Phase, once_in_days};
use crate::template::Value;

use super::alerting::{At, DUPLICATE};
use super::alerts::{ActiveAlert, AlertBook};
use super::budget::Reason;
use super::context::Context;
use super::expand::Data;
use super::file::{RuleSpec, SigmaSpec};
use super::pages::{EXPLAINED_MS, PageHistory};
use super::sigma_rule::{Series, band_pages};
use super::standing::{Grounds, Standing};

/// A band that is to be an alert.
pub(super) struct Wanted {
    series: Labels,
    band: usize,
    judgement: Judgement,
    active_at: Timestamp,
    /// `None` while it is pending.
    fired_at: Option<Timestamp>,
    standing: Standing,
    known: bool,
}

/// The highest firing band of a series, and the pending ones above it.
pub(super) fn wants(
    spec: &SigmaSpec,
    labels: Labels,
    series: &Series,
    evaluation: &Evaluation,
    wanted: &mut Vec<Wanted>,
) {
    let bands = &spec.detector.config().bands;
    let top = evaluation.bands.top;
    for (i, state) in series.state.bands.states().iter().enumerate() {
        if bands[i].action != Action::Alert || top.is_some_and(|t| i < t) {
            continue;
        }
        let (active_at, fired_at) = match state.phase {
            Phase::Firing { active, since, .. } => (active, Some(since)),
            Phase::Pending { since } => (since, None),
            Phase::Inactive => continue,
        };
        // A series without a value now keeps the numbers of its last one.
        let known = evaluation.judgement.value.is_finite();
        let judgement = if known {
            evaluation.judgement
        } else {
            series.last.map_or(evaluation.judgement, |e| e.judgement)
        };
        wanted.push(Wanted {
            series: labels.clone(),
            band: i,
            judgement,
            active_at,
            fired_at,
            standing: series.pages.standing(),
            known,
        });
    }
}

/// Makes the rule's alerts what is wanted. `held`: why nothing of the rule pages for now.
pub(super) fn alerts(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    wanted: Vec<Wanted>,
    (pages, held): (&PageHistory, Option<&str>),
    book: &mut AlertBook,
) -> Result<(), String> {
    let mut holding = BTreeSet::new();
    for want in wanted {
        let (labels, annotations) = describe(context, rule, spec, at, &want, (pages, held));
        if !holding.insert(labels.clone()) {
            return Err(DUPLICATE.to_owned());
        }
        if let Some(alert) = book.get_active(&labels) {
            if want.known {
                alert.value = want.judgement.value;
                alert.annotations = annotations;
            }
        } else {
            book.insert(ActiveAlert::pending(
                labels.clone(),
                annotations,
                want.judgement.value,
                want.active_at,
            ));
        }
        if let (Some(alert), Some(fired_at)) = (book.get_active(&labels), want.fired_at)
            && alert.fired_at.is_none()
        {
            alert.fire(fired_at);
        }
    }
    book.settle(at.ts, |alert| holding.contains(&alert.labels));
    Ok(())
}

/// Labels and annotations of a band's alert.
fn describe(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    want: &Wanted,
    (pages, held): (&PageHistory, Option<&str>),
) -> (Labels, Labels) {
    let j = &want.judgement;
    let band = format_float(spec.detector.band(want.band).map_or(f64::NAN, |b| b.sigma));
    let tally = pages.tally(at.ts, EXPLAINED_MS);
    let more = [
        ("$center", "Center", Value::Float(j.center)),
        ("$stddev", "Stddev", Value::Float(j.stddev)),
        ("$zscore", "Zscore", Value::Float(j.zscore)),
        ("$band", "Band", Value::from(band.as_str())),
        ("$samples", "Samples", Value::Uint(j.samples)),
        ("$firings", "Firings", Value::Uint(tally.pages)),
        ("$useful", "Useful", Value::Uint(tally.useful)),
        ("$useless", "Useless", Value::Uint(tally.useless)),
    ];
    let data = Data::new(context, &want.series, j.value, &more);
    let mut labels = want.series.to_builder();
    for (name, template) in &spec.templates.labels {
        labels.set(name, &data.expand(context, &rule.name, template, at.ts, at.read));
    }
    if let Some(own) = spec.bands.get(want.band) {
        for (name, value) in own.iter() {
            labels.set(name, value);
        }
    }
    labels.set("band", &band).set("alertname", &rule.name);
    let mut annotations = Labels::empty().to_builder();
    let fires = want.fired_at.is_some();
    annotations
        .set("explanation", &explanation(j, &band, &chance(spec, j, at.interval_ms), &pages.sentence(at.ts)));
    if let Standing::Held { .. } = want.standing
        && fires
        && band_pages(rule, spec, want.band)
    {
        labels.set("severity", DEMOTED);
    }
    if let Some(text) = held.filter(|_| fires && band_pages(rule, spec, want.band)) {
        labels.set("severity", DEMOTED);
        annotations.set("reload_gate", text);
    }
    if let Some(text) = said_of_budget(spec, want.standing, pages, at.ts).filter(|_| fires) {
        annotations.set("page_budget", &text);
    }
    for (name, template) in &spec.templates.annotations {
        annotations.set(name, &data.expand(context, &rule.name, template, at.ts, at.read));
    }
    (labels.build(), annotations.build())
}

/// The severity of a page that is held back.
const DEMOTED: &str = "ticket";

/// What people are told of the rule's budget and its quiet time: when it is spent, and when it holds something back.
fn said_of_budget(
    spec: &SigmaSpec,
    standing: Standing,
    pages: &PageHistory,
    now: Timestamp,
) -> Option<String> {
    let budget = spec.detector.config().page_budget;
    let used =
        budget.map_or_else(String::new, |b| format!("{} of {} in {}", pages.used(b, now), b.pages, b.per));
    match standing {
        Standing::Paged { grounds: Grounds::Spends, .. } => Some(format!(
            "page budget spent: {used}. From now on only something worse than this pages; the rest are tickets. {}",
            pages.sentence(now)
        )),
        Standing::Paged { grounds: Grounds::WorseThan(worst), .. } => Some(format!(
            "over the page budget ({used}), because it is worse than the page before it ({}σ).",
            four(worst)
        )),
        Standing::Paged { .. } | Standing::Calm => None,
        Standing::Held { reason, from, .. } => {
            let why = match reason {
                Reason::Quiet => "this series paged a short while ago".to_owned(),
                Reason::Widened => format!("pages before it widened the bands ({used})"),
                Reason::Spent => format!("the page budget is spent ({used})"),
                Reason::Noise => {
                    format!("noise may reach that far, by all that is known of these series so far ({used})")
                }
            };
            Some(format!("a ticket, not a page: {why}. More than {}σ would page.", four(from)))
        }
    }
}

/// Four digits are what a person reads.
fn four(v: f64) -> String {
    let magnitude = if v == 0.0 { 0 } else { v.abs().log10().floor().clamp(-300.0, 300.0) as i32 };
    let digits = (3 - magnitude).clamp(0, 12).unsigned_abs() as usize;
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How rare so far a value would be if the noise were normal and independent, which real noise is not: a measure, no promise. Empty for
/// distances that are not in σ of noise.
fn chance(spec: &SigmaSpec, j: &Judgement, interval_ms: i64) -> String {
    let config = spec.detector.config();
    if config.baseline.model == Model::Novelty {
        return String::new();
    }
    let days = once_in_days(j.zscore, config.direction, interval_ms);
    let seldom = match days {
        d if d.is_nan() => return String::new(),
        d if d > A_MILLION_YEARS => "less than once in a million years".to_owned(),
        d if d >= 730.0 => format!("once in {} years", four((d / 365.25).round())),
        d if d >= 2.0 => format!("once in {} days", four(d)),
        d => format!("{} times a day", four(1.0 / d)),
    };
    format!(" Normal noise comes so far out {seldom} at this evaluation interval.")
}

/// In days.
const A_MILLION_YEARS: f64 = 365.25e6;

/// Why the alert is there, in one sentence of numbers, one of their chance, and one about the rule.
fn explanation(j: &Judgement, band: &str, chance: &str, record: &str) -> String {
    let side = if j.value < j.center { "below" } else { "above" };
    format!(
        "value {} is {}σ {side} its normal {} (σ {}, learnt from {} samples); band {band}σ.{chance} {record}",
        four(j.value),
        four(j.zscore.abs()),
        four(j.center),
        four(j.stddev),
        j.samples,
    )
}
