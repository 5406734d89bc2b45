//! `drill`: a synthetic incident through the whole chain, followed until it is over.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::server::{Server, ServerFlags};
use crate::model::Order as _;

/// How often the incident is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How long it may take beyond all of its timeouts: what does not arrive is tried again for a minute.
const GRACE: Duration = Duration::from_secs(150);

#[derive(Debug, Clone, Args)]
pub struct DrillFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Escalation policy to go through (default: that of the route on which such an alert would go)
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// How long each step waits for an acknowledgement, 1s to 1h (default: as the policy says)
    #[arg(long, value_name = "DURATION")]
    pub ack_timeout: Option<crate::model::Duration>,
    /// How many of the steps that notify people (default 2: the person on call, and the backup)
    #[arg(long, value_name = "N")]
    pub steps: Option<u16>,
    /// The label `severity` of its alert: it decides the route
    #[arg(long, value_name = "NAME", default_value = "page")]
    pub severity: String,
    /// Who does this; stands in the message (default: $USER)
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Runs a drill and prints what happened when. Exit code 0 only if every step was delivered.
pub fn run(flags: &DrillFlags) -> ExitCode {
    match follow(flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("drill failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn follow(flags: &DrillFlags) -> Result<bool, String> {
    let server = Server::new(&flags.server)?;
    let by = flags.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let begun = server
        .post(
            "/api/v1/drill",
            &[
                ("policy", flags.policy.as_deref().unwrap_or_default()),
                ("ack_timeout", &flags.ack_timeout.map(|d| d.to_string()).unwrap_or_default()),
                ("steps", &flags.steps.map(|n| n.to_string()).unwrap_or_default()),
                ("severity", &flags.severity),
                ("by", &by),
            ],
        )?
        .data()?;
    let id = begun["incident"].as_str().ok_or("the server names no incident")?.to_owned();
    let timeouts: Vec<f64> = begun["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| s["ackTimeoutSeconds"].as_f64().unwrap_or(0.0))
        .collect();
    println!(
        "drill {id} under policy {}: {} steps; every message of it says that it is a drill",
        begun["policy"].as_str().unwrap_or("?"),
        timeouts.len()
    );
    let mut told = Told { begin: millis(&begun["triggeredAt"]).unwrap_or(0), said: Vec::new(), timeouts };
    told.say(0, "triggered");
    let written = begun["writtenSeconds"].as_f64().unwrap_or(0.0);
    told.say((written * 1000.0) as i64, "written to the ledger");

    let longest = Duration::from_secs_f64(told.timeouts.iter().sum::<f64>().clamp(0.0, 1e6)) + GRACE;
    let started = Instant::now();
    let path = format!("/api/v1/incidents/{id}");
    let mut resolving = false;
    loop {
        std::thread::sleep(POLL);
        let incident = match server.get(&path, &[]).and_then(super::server::Answer::data) {
            Ok(incident) => incident,
            // It may be restarting; the drill goes on when it is back.
            Err(reason) if started.elapsed() > longest => return Err(reason),
            Err(_) => continue,
        };
        told.progress(&incident);
        match incident["state"].as_str() {
            Some("resolved") => return Ok(told.verdict(&incident)),
            Some("acknowledged") if !resolving => {
                resolving = true;
                server.post(&format!("{path}/resolve"), &[("by", &by), ("comment", "the drill is over")])?;
            }
            _ if started.elapsed() > longest => {
                return Err(format!("incident {id} is not over after {} s", longest.as_secs()));
            }
            _ => {}
        }
    }
}

/// What was printed so far.
struct Told {
    /// ms since the epoch.
    begin: i64,
    /// Events of the incident that were printed.
    said: Vec<(i64, String)>,
    timeouts: Vec<f64>,
}

impl Told {
    fn say(&self, after_ms: i64, what: &str) {
        println!("{:>9.3} s  {what}", after_ms.max(0) as f64 / 1000.0);
    }

    /// Prints what is new.
    fn progress(&mut self, incident: &serde_json::Value) {
        // What is known later and happened earlier is printed late, not never.
        for event in self.events(incident) {
            if !self.said.contains(&event) {
                self.say(event.0 - self.begin, &event.1);
                self.said.push(event);
            }
        }
    }

    /// What happened, in order.
    fn events(&self, incident: &serde_json::Value) -> Vec<(i64, String)> {
        let mut events = Vec::new();
        let pages = incident["pages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut last = 0;
        for page in pages {
            let step = page["step"].as_u64().unwrap_or(0);
            let whom = match page["user"].as_str() {
                Some(user) if !user.is_empty() => user,
                _ => page["target"].as_str().unwrap_or("?"),
            };
            let at = millis(&page["at"]).unwrap_or(self.begin);
            if step > 1 && step != last {
                let waited = usize::try_from(step).ok().and_then(|s| self.timeouts.get(s.saturating_sub(2)));
                let after = waited.map(|s| format!(" (after {s} s)")).unwrap_or_default();
                events.push((at, format!("nobody acknowledged: escalated to step {step}{after}")));
            }
            last = step;
            for arrival in page["arrivals"].as_array().into_iter().flatten() {
                let name = arrival["integration"].as_str().unwrap_or("?");
                if let Some(taken) = millis(&arrival["at"]) {
                    let attempts = match arrival["attempts"].as_u64() {
                        Some(n) if n > 1 => format!(", attempt {n}"),
                        _ => String::new(),
                    };
                    let took = (taken - at).max(0) as f64 / 1000.0;
                    events.push((
                        taken,
                        format!("step {step}: delivered to {whom} by {name} ({took:.3} s{attempts})"),
                    ));
                }
            }
        }
        if let Some(at) = millis(&incident["acknowledgedAt"]) {
            let by = incident["acknowledgedBy"].as_str().unwrap_or("somebody");
            events.push((at, format!("acknowledged by {by}: nobody else is paged")));
        }
        if let Some(at) = millis(&incident["resolvedAt"]) {
            events.push((at, "resolved".to_owned()));
        }
        events.order_by_key(|(at, _)| *at);
        events
    }

    /// Was it good? And if not, what was wrong.
    fn verdict(&self, incident: &serde_json::Value) -> bool {
        if incident["delivered"] == true {
            match (millis(&incident["acknowledgedAt"]), incident["acknowledgedBy"].as_str()) {
                (Some(at), by) => {
                    let pages = incident["pages"].as_array().map(Vec::as_slice).unwrap_or_default();
                    let step = pages.iter().filter_map(|p| p["step"].as_u64()).max().unwrap_or(0);
                    let after = (at - self.begin).max(0) as f64 / 1000.0;
                    println!(
                        "good: {} acknowledged it at step {step} of {}, after {after:.3} s",
                        by.unwrap_or("somebody"),
                        self.timeouts.len()
                    );
                }
                (None, _) => println!("good: every step was delivered"),
            }
            return true;
        }
        println!("NOT GOOD: not every step was delivered");
        let pages = incident["pages"].as_array().map(Vec::as_slice).unwrap_or_default();
        for page in pages {
            let receiver = page["receiver"].as_str().unwrap_or("?");
            let arrivals = page["arrivals"].as_array().map(Vec::as_slice).unwrap_or_default();
            if arrivals.is_empty() {
                println!("  step {}: nothing is known of the delivery by {receiver}", page["step"]);
            }
            for a in arrivals.iter().filter(|a| millis(&a["at"]).is_none()) {
                println!(
                    "  step {}: {} did not take it in {} attempts: {}",
                    page["step"],
                    a["integration"].as_str().unwrap_or("?"),
                    a["attempts"],
                    a["error"].as_str().unwrap_or("no answer")
                );
            }
        }
        for step in 1..=self.timeouts.len() as u64 {
            if !pages.iter().any(|p| p["step"].as_u64() == Some(step)) {
                println!("  step {step}: nobody was notified");
            }
        }
        false
    }
}

/// RFC 3339 to ms since the epoch.
fn millis(time: &serde_json::Value) -> Option<i64> {
    time.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
