//! `/metrics` and `/federate`.

use sideband::model::{MetricType, stale_nan};
use sideband::net::auth::Security;
use sideband::net::listener::ServerLimits;
use sideband::web::Options;

use super::{NOW, World};

const OPENMETRICS: [(&str, &str); 1] =
    [("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1")];

fn histogram(world: &World, t: i64, job: &str) {
    world.append(
        t,
        &[
            (&[("__name__", "took_seconds_count"), ("job", job)], 4.0),
            (&[("__name__", "took_seconds_bucket"), ("job", job), ("le", "+Inf")], 4.0),
            (&[("__name__", "took_seconds_bucket"), ("job", job), ("le", "10")], 3.0),
            (&[("__name__", "took_seconds_bucket"), ("job", job), ("le", "2.5")], 2.0),
            (&[("__name__", "took_seconds_sum"), ("job", job)], 21.5),
        ],
    );
}

/// The page without the process's own metrics.
fn stored(page: &str) -> Vec<&str> {
    page.lines().filter(|l| !l.contains("promhttp_") && !l.contains("sideband_http")).collect()
}

#[tokio::test]
async fn families_are_whole_sorted_and_without_timestamps() {
    let world = World::local().await;
    world.describe("took_seconds", MetricType::Histogram, "How long");
    world.describe("requests_total", MetricType::Counter, "Requests \\ \n so far");
    histogram(&world, NOW - 1000, "b");
    histogram(&world, NOW - 1000, "a");
    world.append(
        NOW,
        &[(&[("__name__", "requests_total"), ("job", "a")], 1e6), (&[("__name__", "a_first")], 0.5)],
    );
    let page = world.get("/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(
        stored(&page.text()),
        [
            "# TYPE a_first untyped",
            "a_first 0.5",
            "# HELP requests_total Requests \\\\ \\n so far",
            "# TYPE requests_total counter",
            "requests_total{job=\"a\"} 1e+06",
            "# HELP took_seconds How long",
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{job=\"a\",le=\"2.5\"} 2",
            "took_seconds_bucket{job=\"a\",le=\"10\"} 3",
            "took_seconds_bucket{job=\"a\",le=\"+Inf\"} 4",
            "took_seconds_sum{job=\"a\"} 21.5",
            "took_seconds_count{job=\"a\"} 4",
            "took_seconds_bucket{job=\"b\",le=\"2.5\"} 2",
            "took_seconds_bucket{job=\"b\",le=\"10\"} 3",
            "took_seconds_bucket{job=\"b\",le=\"+Inf\"} 4",
            "took_seconds_sum{job=\"b\"} 21.5",
            "took_seconds_count{job=\"b\"} 4",
        ]
    );
    let page = world.ask("GET", "/metrics", &OPENMETRICS, "").await;
    assert_eq!(
        page.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = page.text();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE requests counter\nrequests_total{job=\"a\"} 1e+06\n"), "{text}");
    assert!(text.contains("took_seconds_bucket{job=\"a\",le=\"10.0\"} 3\n"), "{text}");
    assert!(text.contains("# TYPE promhttp_metric_handler_requests counter\n"), "{text}");
    world.end().await;
}

#[tokio::test]
async fn the_page_follows_what_is_stored() {
    let world = World::local().await;
    world.append(NOW - 400_000, &[(&[("__name__", "old")], 1.0)]);
    world.append(NOW - 2000, &[(&[("__name__", "gone")], 1.0), (&[("__name__", "here")], 1.0)]);
    assert_eq!(
        stored(&world.get("/metrics").await.text()),
        ["# TYPE gone untyped", "gone 1", "# TYPE here untyped", "here 1"]
    );
    world.append(NOW - 1000, &[(&[("__name__", "gone")], stale_nan()), (&[("__name__", "here")], 2.0)]);
    assert_eq!(stored(&world.get("/metrics").await.text()), ["# TYPE here untyped", "here 2"]);
    // What is learnt of a metric later shows from then on, and so does a new series in the middle.
    world.describe("here", MetricType::Gauge, "Here");
    world.append(NOW, &[(&[("__name__", "here"), ("a", "b")], f64::NAN), (&[("__name__", "a")], -0.0)]);
    assert_eq!(
        stored(&world.get("/metrics").await.text()),
        ["# TYPE a untyped", "a -0", "# HELP here Here", "# TYPE here gauge", "here 2", "here{a=\"b\"} NaN"]
    );
    world.end().await;
}

#[tokio::test]
async fn names_that_would_clash_in_openmetrics_stay_apart() {
    let world = World::local().await;
    world.describe("jobs_total", MetricType::Counter, "");
    world.describe("jobs", MetricType::Gauge, "");
    world.append(NOW, &[(&[("__name__", "jobs_total")], 7.0), (&[("__name__", "jobs")], 2.0)]);
    for _ in 0..40 {
        let text = world.ask("GET", "/metrics", &OPENMETRICS, "").await.text();
        assert!(
            text.contains("# TYPE jobs gauge\njobs 2\n# TYPE jobs_total unknown\njobs_total 7\n"),
            "{text}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn external_labels_are_added_where_there_are_none() {
    let world = World::local().await;
    world.append(
        NOW,
        &[(&[("__name__", "up"), ("job", "a")], 1.0), (&[("__name__", "up"), ("pod", "own")], 1.0)],
    );
    world.get("/metrics").await;
    world.web.set_external_labels(vec![("pod".into(), "p-1".into()), ("namespace".into(), "n".into())]);
    assert_eq!(
        stored(&world.get("/metrics").await.text()),
        [
            "# TYPE up untyped",
            "up{job=\"a\",namespace=\"n\",pod=\"p-1\"} 1",
            "up{namespace=\"n\",pod=\"own\"} 1"
        ]
    );
    world.end().await;
}

#[tokio::test]
async fn a_scrape_of_its_own_gets_its_own_metrics_only() {
    let options = Options { instance_id: "abc".into(), ..Options::default() };
    let world = World::start(options, Security::open(), ServerLimits::default()).await;
    world.append(
        NOW,
        &[
            (&[("__name__", "up")], 1.0),
            (&[("__name__", "promhttp_metric_handler_requests_total"), ("job", "self")], 1.0),
        ],
    );
    let own = world.ask("GET", "/metrics", &[("X-Sideband-Instance", "abc")], "").await.text();
    assert!(
        own.contains("promhttp_metric_handler_requests_total{code=\"200\"} 0\n") && !own.contains("up 1"),
        "{own}"
    );
    let other = world.ask("GET", "/metrics", &[("X-Sideband-Instance", "abd")], "").await.text();
    assert!(other.contains("up 1\n"), "{other}");
    // What was stored of itself and what it says now are one family.
    assert_eq!(
        other.matches("# TYPE promhttp_metric_handler_requests_total counter").count()
            + other.matches("# TYPE promhttp_metric_handler_requests_total untyped").count(),
        1
    );
    assert!(other.contains("promhttp_metric_handler_requests_total{code=\"200\"} 1\n"), "{other}");
    assert!(other.contains("promhttp_metric_handler_requests_total{job=\"self\"} 1\n"), "{other}");
    world.end().await;
}

#[tokio::test]
async fn pages_are_compressed_for_who_takes_it() {
    let world = World::local().await;
    for i in 0..100 {
        world.append(NOW, &[(&[("__name__", "series"), ("number", &i.to_string())], 1.0)]);
    }
    let plain = world.get("/metrics").await;
    let small = world.ask("GET", "/metrics", &[("Accept-Encoding", "br, gzip")], "").await;
    assert_eq!((plain.header("content-encoding"), small.header("content-encoding")), (None, Some("gzip")));
    assert_eq!(stored(&small.text()), stored(&plain.text()));
    let refused = world.ask("GET", "/metrics", &[("Accept-Encoding", "gzip;q=0")], "").await;
    assert_eq!(refused.header("content-encoding"), None);
    let head = world.ask("HEAD", "/metrics", &[], "").await;
    assert!(head.body.is_empty() && head.status == 200);
    world.end().await;
}

#[tokio::test]
async fn utf8_names_go_to_who_asks_for_them() {
    let world = World::local().await;
    world.append(NOW, &[(&[("__name__", "my.metric"), ("a.b", "c")], 1.0)]);
    let modern = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6";
    let text = world.ask("GET", "/metrics", &[("Accept", modern)], "").await.text();
    assert!(text.contains("# TYPE \"my.metric\" unknown\n{\"my.metric\",\"a.b\"=\"c\"} 1\n"), "{text}");
    let text = world.get("/metrics").await.text();
    assert!(text.contains("# TYPE my_metric untyped\nmy_metric{a_b=\"c\"} 1\n"), "{text}");
    world.end().await;
}

#[tokio::test]
async fn federation_has_timestamps_and_chosen_series() {
    let world = World::local().await;
    world.web.set_external_labels(vec![("pod".into(), "p-1".into())]);
    world.append(
        NOW - 1500,
        &[
            (&[("__name__", "up"), ("job", "b")], 1.0),
            (&[("__name__", "up"), ("job", "a"), ("instance", "i")], 1.0),
            (&[("__name__", "other")], 1.0),
        ],
    );
    let page = world.get("/federate?match[]=up&match[]=%7Bjob=%22a%22%7D").await;
    assert_eq!(
        page.text(),
        format!(
            "# TYPE up untyped\nup{{instance=\"i\",job=\"a\",pod=\"p-1\"}} 1 {t}\n\
             up{{instance=\"\",job=\"b\",pod=\"p-1\"}} 1 {t}\n",
            t = NOW - 1500
        )
    );
    assert_eq!(world.get("/federate").await.text(), "");
    assert_eq!(world.get("/federate?match[]=up%7B").await.status, 400);
    world.end().await;
}

/// Whatever is stored comes back from the page when our own scanner reads it.
#[test]
fn any_series_can_be_read_back() {
    use proptest::prelude::*;
    use sideband::exposition::{Entry, Format, Scanner};
    use sideband::model::Labels;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name = "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}|[a-z.é ]{1,6}";
    let label = ("[a-z_]{1,6}|[a-z.ü]{1,5}", "[ -~\n\\\\\"é☃]{1,12}");
    let series = (name, prop::collection::vec(label, 0..4), any::<f64>());
    let config = ProptestConfig { cases: 40, ..ProptestConfig::default() };
    proptest!(config, |(all in prop::collection::vec(series, 1..20))| {
        let mut stored = std::collections::BTreeMap::new();
        for (name, labels, value) in all {
            // A value that happens to be the mark of the end is none.
            let value = if value.is_nan() { f64::NAN } else { value };
            let pairs = labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let pairs = pairs.filter(|(n, _)| !matches!(*n, "le" | "quantile")).chain([("__name__", name.as_str())]);
            stored.insert(Labels::from_pairs(pairs), value);
        }
        let read = runtime.block_on(async {
            let world = World::local().await;
            let mut appender = world.storage.appender(sideband::storage::SourceId(1));
            for (labels, value) in &stored {
                let id = appender.series(labels).unwrap();
                appender.append(id, NOW, *value).unwrap();
            }
            appender.commit(NOW);
            let mut pages = Vec::new();
            for (format, accept) in [
                (Format::Text, "text/plain;version=1.0.0;escaping=allow-utf-8"),
                (Format::OpenMetrics, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"),
            ] {
                pages.push((format, world.ask("GET", "/metrics", &[("Accept", accept)], "").await.text()));
            }
            world.end().await;
            pages
        });
        for (format, page) in read {
            let mut scanner = Scanner::new(page.as_bytes(), format);
            let mut found = std::collections::BTreeMap::new();
            while let Some(entry) = scanner.next() {
                if let Entry::Series(series) = entry.unwrap() {
                    found.insert(scanner.labels().unwrap(), series.value);
                }
            }
            found.retain(|labels, _| !labels.metric_name().starts_with("promhttp_") && !labels.metric_name().starts_with("sideband_"));
            prop_assert_eq!(found.len(), stored.len());
            for (labels, value) in &stored {
                let got = found.get(labels).copied();
                prop_assert!(got.is_some_and(|g| g == *value || g.is_nan() && value.is_nan()), "{labels}: {got:?} {value}\n{page}");
            }
        }
    });
}
