//! Scraping real sockets: what is stored, what is refused, and what is said of it.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sideband::model::{Labels, Matcher, Sample, SystemClock, is_stale_nan, yaml};
use sideband::scrape::{
    GlobalDefaults, Manager, ScrapeConfig, ScrapeJob, ScrapeMetrics, TargetHealth, TargetView,
};
use sideband::storage::{SourceId, Storage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

// A scrape may take as long as its interval, and a busy machine makes some of these take longer. Such a scrape fails, as it should,
// and no test may mind: each waits for the scrape that it is about.

/// What a server sends, byte for byte; `None` says nothing at all and keeps the connection open.
type Answer = Option<Vec<u8>>;

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers the n-th request (from 0) as told. The requests are kept.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

async fn serve(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, answer) = (requests.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, answer) = (seen.clone(), answer.clone());
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match socket.read_u8().await {
                            Ok(b) => head.push(b),
                            Err(_) => return,
                        }
                    }
                    let n = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(String::from_utf8(head).unwrap());
                        seen.len() - 1
                    };
                    match answer(n) {
                        Some(bytes) => {
                            if socket.write_all(&bytes).await.is_err() {
                                return;
                            }
                            if !bytes.windows(14).any(|w| w.eq_ignore_ascii_case(b"content-length")) {
                                return;
                            }
                        }
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    Server { address, requests }
}

fn http(content_type: &str, extra: &str, body: &[u8]) -> Answer {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{extra}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    Some(out)
}

/// Answers that change when the test says so, and not at a scrape that may be too late.
fn phases(
    answer: impl Fn(u32) -> Answer + Send + Sync + 'static,
) -> (Arc<AtomicU32>, impl Fn(usize) -> Answer + Send + Sync + 'static) {
    let phase = Arc::new(AtomicU32::new(0));
    (phase.clone(), move |_| answer(phase.load(Ordering::Relaxed)))
}

fn text(body: &str) -> Answer {
    http("text/plain; version=0.0.4", "", body.as_bytes())
}

fn jobs(text: &str) -> Vec<ScrapeJob> {
    jobs_in(Path::new("."), text)
}

fn jobs_in(dir: &Path, text: &str) -> Vec<ScrapeJob> {
    let configs: Vec<ScrapeConfig> = yaml::read(Path::new("x.yml"), text).unwrap();
    let global = GlobalDefaults {
        scrape_interval: sideband::model::Duration::from_ms(150),
        scrape_timeout: sideband::model::Duration::from_ms(30_000),
        ..Default::default()
    };
    configs.iter().map(|c| c.resolve(&global, dir).unwrap()).collect()
}

struct World {
    storage: Storage,
    manager: Manager,
}

fn world() -> World {
    let storage = Storage::in_memory();
    let next = AtomicU32::new(1);
    let manager = Manager::new(
        storage.clone(),
        Arc::new(SystemClock),
        "test-instance",
        move || SourceId(next.fetch_add(1, Ordering::Relaxed)),
        ScrapeMetrics::default(),
    );
    World { storage, manager }
}

impl World {
    /// The samples of the only series with this name.
    fn samples(&self, name: &str) -> Vec<Sample> {
        let series = self.storage.select(&[Matcher::equal("__name__", name)], i64::MIN, i64::MAX);
        let mut out = Vec::new();
        for s in series {
            s.read(i64::MIN, i64::MAX, &mut out);
        }
        out
    }

    fn labels(&self, name: &str) -> Vec<Labels> {
        let series = self.storage.select(&[Matcher::equal("__name__", name)], i64::MIN, i64::MAX);
        let mut out: Vec<_> = series.into_iter().map(|s| s.labels).collect();
        out.sort();
        out
    }

    fn last(&self, name: &str) -> Option<f64> {
        self.samples(name).last().map(|s| s.v)
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "never: {what}; targets {:?}",
                self.manager.targets()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The only target, once it is in this state, with this in its last error.
    async fn until_it_is(&self, health: TargetHealth, error: &str) -> TargetView {
        let what = format!("{health:?}, {error:?}");
        self.until(&what, |w| {
            w.manager.targets().iter().all(|t| t.health == health && t.last_error.contains(error))
        })
        .await;
        self.manager.targets().remove(0)
    }
}

fn job(address: &str, more: &str) -> String {
    format!("- job_name: app\n  static_configs: [{{targets: ['{address}'], labels: {{env: prod}}}}]\n{more}")
}

#[tokio::test]
async fn a_page_becomes_samples_and_the_scrape_reports_itself() {
    let page =
        "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",job=\"inner\"} 5\nb 2.5 1\nc NaN\n";
    let server = serve(move |_| text(page)).await;
    let w = world();
    w.manager.apply(jobs(&job(&server.address, "  extra_scrape_metrics: true\n"))).unwrap();
    let view = w.until_it_is(TargetHealth::Up, "").await;
    assert_eq!((view.last_error.as_str(), view.scrape_pool.as_str()), ("", "app"));
    assert_eq!(view.scrape_url, format!("http://{}/metrics", server.address));
    w.until("two scrapes", |w| {
        w.samples("a_total").len() >= 2
            && w.last("up") == Some(1.0)
            && w.last("scrape_series_added") == Some(0.0)
    })
    .await;
    let labels = &w.labels("a_total")[0];
    let instance = server.address.as_str();
    for (name, value) in
        [("x", "1"), ("job", "app"), ("exported_job", "inner"), ("env", "prod"), ("instance", instance)]
    {
        assert_eq!(labels.get(name), Some(value), "{name}");
    }
    assert_eq!(w.last("a_total"), Some(5.0));
    // A timestamp of 1970 is out of the storage's bounds or older than the sample before: one at most.
    assert!(w.samples("b").len() <= 1);
    assert!(w.last("c").unwrap().is_nan() && !is_stale_nan(w.last("c").unwrap()));
    for (name, value) in [
        ("up", 1.0),
        ("scrape_samples_scraped", 3.0),
        ("scrape_samples_post_metric_relabeling", 3.0),
        ("scrape_timeout_seconds", 0.15),
        ("scrape_body_size_bytes", page.len() as f64),
    ] {
        assert_eq!(w.last(name), Some(value), "{name}");
    }
    let added = w.samples("scrape_series_added");
    assert_eq!(added.iter().map(|s| s.v).find(|v| *v != 0.0), Some(3.0));
    let metadata = w.storage.metadata("a_total").unwrap();
    assert_eq!((metadata.kind.as_str(), metadata.help.as_str()), ("counter", "Things."));
    let request = server.requests.lock().unwrap()[0].to_ascii_lowercase();
    for header in [
        "accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;\
         version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "accept-encoding: gzip",
        "user-agent: sideband/",
        "x-prometheus-scrape-timeout-seconds: 0.15",
        "x-sideband-instance: test-instance",
        &format!("host: {instance}"),
    ] {
        assert!(request.contains(header), "{header} in {request}");
    }
    w.manager.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_said_and_nothing_of_it_is_kept() {
    let huge = {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..600 {
            zipped.write_all(&[b'#'; 100_000]).unwrap();
        }
        zipped.finish().unwrap()
    };
    let cases: Vec<(&str, Answer, &str, &str)> = vec![
        ("html", http("text/html; charset=utf-8", "", b"<html>"), "", "unsupported Content-Type"),
        ("html as text", text("<html>\n"), "", "expected a valid start token"),
        ("no type", http("", "", b"m 1\n"), "", "blank Content-Type"),
        (
            "status",
            Some(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()),
            "",
            "server returned HTTP status 503 Service Unavailable",
        ),
        (
            "half a body",
            Some(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nm 1\nm2 ".to_vec()),
            "",
            "",
        ),
        (
            "half a chunk",
            Some(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nm 1\n\r\n".to_vec()),
            "",
            "",
        ),
        ("no http", Some(b"SSH-2.0-OpenSSH\r\n".to_vec()), "", "Get \"http://"),
        ("nothing", None, "  scrape_timeout: 100ms\n", "context deadline exceeded"),
        ("60 MB in a few KB", http("text/plain", "Content-Encoding: gzip\r\n", &huge), "  scrape_interval: 2s\n", "body size limit exceeded"),
        (
            "500 MB announced",
            Some(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500000000\r\n\r\nm 1\n".to_vec()),
            "",
            "body size limit exceeded",
        ),
        ("own body limit", text("m 1\nm2 2\n"), "  body_size_limit: 5B\n", "body size limit exceeded"),
        ("sample limit", text("m 1\nm2 2\n"), "  sample_limit: 1\n", "sample limit exceeded"),
        ("label limit", text("m{a=\"1\"} 1\n"), "  label_limit: 4\n", "label_limit exceeded"),
        ("label value", text("m{a=\"12345\"} 1\n"), "  label_value_length_limit: 4\n", "label_value_length_limit"),
        ("twice one label", text("m{a=\"1\",a=\"2\"} 1\n"), "", "label name \"a\" is not unique"),
        ("syntax", text("m 1\nm2{a=b} 2\n"), "", "expected label value"),
        ("cut OpenMetrics", http("application/openmetrics-text", "", b"m 1\n"), "", "does not end with # EOF"),
        ("old names only", text("{\"m.x\"} 1\n"), "  metric_name_validation_scheme: legacy\n", "invalid metric name"),
        ("damaged gzip", http("text/plain", "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08nonsense"), "", "gzip"),
    ];
    for (name, answer, more, error) in cases {
        let server = serve(move |_| answer.clone()).await;
        let w = world();
        w.manager.apply(jobs(&job(&server.address, more))).unwrap();
        let view = w.until_it_is(TargetHealth::Down, error).await;
        assert!(!view.last_error.is_empty(), "{name}");
        assert_eq!(w.last("up"), Some(0.0), "{name}");
        assert!(w.samples("m").is_empty(), "{name}");
        w.manager.stop().await;
    }
}

#[tokio::test]
async fn single_samples_that_cannot_be_are_dropped_and_the_rest_is_kept() {
    let cases = [
        ("the year 292278994", "m 1 9223372036854775807\nok 1\n", 0),
        ("before its time", "m 1 -9\nok 1\n", -1),
        ("twice one series", "m 1\nm 2\nok 1\n", 1),
    ];
    for (name, page, samples) in cases {
        let server = serve(move |_| text(page)).await;
        let w = world();
        w.manager.apply(jobs(&job(&server.address, ""))).unwrap();
        if samples < 0 {
            // Text 0.0.4 has no negative timestamps when Prometheus reads it.
            w.until_it_is(TargetHealth::Down, "").await;
            continue;
        }
        w.until_it_is(TargetHealth::Up, "").await;
        let at = w.samples("ok")[0].t;
        assert_eq!(w.samples("m").iter().filter(|s| s.t <= at).count(), samples as usize, "{name}");
        assert!(w.samples("m").iter().all(|s| s.v == 1.0), "{name}");
    }
}

#[tokio::test]
async fn series_that_vanish_end_with_a_staleness_marker() {
    let (phase, answer) = phases(|phase| match phase {
        0 => text("m 1\nn 1\n"),
        1 => text("n 1\n"),
        2 => Some(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => text("n 1\nm 3\n"),
    });
    let server = serve(answer).await;
    let w = world();
    w.manager.apply(jobs(&job(&server.address, ""))).unwrap();
    for (i, (m, n, up)) in [("1", "1", "1"), ("stale", "1", "1"), ("stale", "stale", "0"), ("3", "1", "1")]
        .into_iter()
        .enumerate()
    {
        phase.store(i as u32, Ordering::Relaxed);
        let last = |name: &str| match w.last(name) {
            Some(v) if is_stale_nan(v) => "stale".to_owned(),
            v => v.map_or_else(String::new, |v| v.to_string()),
        };
        let what = format!("phase {i}: m {m}, n {n}, up {up}");
        w.until(&what, |_| [last("m"), last("n"), last("up")] == [m, n, up]).await;
    }
    // An end is told once.
    let m = w.samples("m");
    assert!(!m.windows(2).any(|two| two.iter().all(|s| is_stale_nan(s.v))), "{m:?}");
    // The target goes: everything of it ends, `up` too.
    w.manager.apply(Vec::new()).unwrap();
    w.until("all ended", |w| ["m", "n", "up"].iter().all(|n| w.last(n).is_some_and(is_stale_nan))).await;
    assert!(w.manager.targets().is_empty());
}

#[tokio::test]
async fn samples_with_own_timestamps_are_not_ended_unless_asked() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    for (more, ends) in [("", false), ("  track_timestamps_staleness: true\n", true)] {
        let (phase, answer) = phases(move |phase| match phase {
            0 => text(&format!("m 0 {now}\nn 1\n")),
            _ => text("n 2\n"),
        });
        let server = serve(answer).await;
        let w = world();
        w.manager.apply(jobs(&job(&server.address, more))).unwrap();
        w.until("m is there", |w| w.samples("m").len() == 1).await;
        assert_eq!(w.samples("m")[0].t, now as i64);
        phase.store(1, Ordering::Relaxed);
        w.until("later pages", |w| w.samples("n").iter().filter(|s| s.v == 2.0).count() > 2).await;
        assert_eq!(is_stale_nan(w.last("m").unwrap()), ends, "{more}");
        w.manager.stop().await;
    }
}

#[tokio::test]
async fn a_dead_or_hanging_target_delays_nobody() {
    let hanging = serve(|_| None).await;
    let good = serve(|_| text("m 1\n")).await;
    let w = world();
    let config = format!(
        "- job_name: app\n  scrape_interval: 100ms\n  static_configs: [{{targets: ['{}', '127.0.0.1:1']}}]\n\
         - job_name: slow\n  scrape_interval: 60s\n  static_configs: [{{targets: ['{}'], labels: {{__scrape_interval__: 60s}}}}]\n",
        good.address, hanging.address
    );
    w.manager.apply(jobs(&config)).unwrap();
    w.until("many scrapes", |w| w.samples("m").len() >= 5).await;
    w.until("nobody listens there", |w| {
        w.manager.targets().iter().any(|t| t.scrape_url.contains(":1/") && t.last_error.contains("refused"))
    })
    .await;
    w.manager.stop().await;
}

#[tokio::test]
async fn labels_are_honored_relabelled_and_gzip_is_read() {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(b"keep{job=\"own\",secret=\"x\"} 1\ndrop_me 2\n").unwrap();
    let zipped = zipped.finish().unwrap();
    let server = serve(move |_| http("text/plain", "Content-Encoding: gzip\r\n", &zipped)).await;
    let w = world();
    let more = "  honor_labels: true\n  metrics_path: /m?a=b\n  params: {q: ['1 2', '3']}\n  relabel_configs:\n    - {source_labels: [__address__], regex: '(.*):.*', target_label: host}\n  metric_relabel_configs:\n    - {source_labels: [__name__], regex: 'drop_.*', action: drop}\n    - {regex: secret, action: labeldrop}\n";
    w.manager.apply(jobs(&job(&server.address, more))).unwrap();
    w.until("kept", |w| w.samples("keep").len() > 1).await;
    let labels = &w.labels("keep")[0];
    assert_eq!(
        (labels.get("job"), labels.get("secret"), labels.get("host")),
        (Some("own"), None, Some("127.0.0.1"))
    );
    assert!(w.samples("drop_me").is_empty());
    w.until("two scraped, one kept", |w| {
        (w.last("scrape_samples_scraped"), w.last("scrape_samples_post_metric_relabeling"))
            == (Some(2.0), Some(1.0))
    })
    .await;
    assert!(server.requests.lock().unwrap()[0].starts_with("GET /m?a=b&q=1+2&q=3 HTTP/1.1"));
    w.manager.stop().await;
}

#[tokio::test]
async fn file_targets_come_and_go_and_a_bad_file_changes_nothing() {
    let (a, b) = (serve(|_| text("m 1\n")).await, serve(|_| text("m 2\n")).await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets.json");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    write(format!(r#"[{{"targets": ["{}"], "labels": {{"zone": "z"}}}}]"#, a.address));
    let w = world();
    w.manager
        .apply(jobs_in(
            dir.path(),
            "- job_name: app\n  file_sd_configs: [{files: ['*.json', 'x.yml'], refresh_interval: 20ms}]\n",
        ))
        .unwrap();
    w.until("first", |w| w.last("m") == Some(1.0)).await;
    let view = w.manager.targets().remove(0);
    assert_eq!(view.labels.get("zone"), Some("z"));
    assert_eq!(view.discovered_labels.get("__meta_filepath"), file.to_str());
    write("[{\"targets\": 5}]".into());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(w.manager.targets().len(), 1);
    std::fs::write(dir.path().join("x.yml"), format!("- targets: ['{}']\n", b.address)).unwrap();
    w.until("both", |w| w.manager.targets().len() == 2).await;
    std::fs::remove_file(&file).unwrap();
    w.until("one again", |w| w.manager.targets().len() == 1).await;
    w.manager.stop().await;
}

#[tokio::test]
async fn a_reload_leaves_unchanged_targets_alone() {
    let server = serve(|_| text("m 1\n")).await;
    let w = world();
    let config = job(&server.address, "");
    w.manager.apply(jobs(&config)).unwrap();
    w.until("scraped", |w| w.samples("m").len() > 1).await;
    let sources = w.manager.sources();
    w.manager.apply(jobs(&config)).unwrap();
    assert_eq!(w.manager.sources(), sources);
    w.until_it_is(TargetHealth::Up, "").await;
    // Changed in a way that leaves the target what it is: the series go on under the same source.
    w.manager.apply(jobs(&format!("{config}  sample_limit: 100\n"))).unwrap();
    assert_eq!(w.manager.sources(), sources);
    let before = w.samples("m").len();
    w.until("goes on", |w| w.samples("m").len() > before + 1).await;
    // No end but by a scrape that failed.
    let failed: Vec<_> = w.samples("up").iter().filter(|s| s.v == 0.0).map(|s| s.t).collect();
    let ends = w.samples("m").iter().filter(|s| is_stale_nan(s.v)).map(|s| s.t).collect::<Vec<_>>();
    assert!(ends.iter().all(|t| failed.contains(t)), "{ends:?} {failed:?}");
    // A job that cannot start changes nothing.
    let bad = format!("{config}  tls_config: {{ca_file: /nonexistent}}\n");
    assert!(w.manager.apply(jobs(&bad)).is_err());
    assert_eq!(w.manager.sources(), sources);
    w.manager.stop().await;
}

#[test]
fn what_is_not_a_scrape_config_is_refused_with_its_place() {
    for (text, line, part) in [
        ("- job_name: ''\n", 1, "job_name is empty"),
        ("- scrape_interval: 5s\n", 0, "job_name is empty"),
        (
            "- metrics_path: /\n  job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
            4,
            "scrape timeout greater",
        ),
        ("- job_name: a\n  scrape_failure_log_file: x\n", 2, "scrape_failure_log_file is not built yet"),
        ("- job_name: a\n  metric_name_validation_scheme: utf9\n", 2, "utf9"),
        ("- job_name: a\n  fallback_scrape_protocol: Proto\n", 2, "unknown scrape protocol Proto"),
        ("- job_name: a\n  oauth2: {client_id: x}\n", 1, "oauth2 token_url must be configured"),
        ("- job_name: a\n  scrape_protocols: [Proto]\n", 2, "unknown scrape protocol Proto"),
        ("- job_name: a\n  static_configs: [{targets: ['http://x/']}]\n", 2, "is not a valid hostname"),
        ("- job_name: a\n  static_configs: [{targets: ['u:s3cret@x:1']}]\n", 2, "no place in an address"),
        ("- job_name: a\n  file_sd_configs: [{files: [x.txt]}]\n", 2, "not valid for file discovery"),
        (
            "- job_name: a\n  metric_relabel_configs: [{action: hashmod, target_label: x}]\n",
            2,
            "non-zero modulus",
        ),
        ("- job_name: a\n  relabel_configs:\n    -\n", 3, "empty or null target relabeling rule"),
        ("- job_name: a\n  bearer_token: x\n  basic_auth: {username: y}\n", 1, "at most one of"),
        ("- job_name: a\n  body_size_limit: 10XB\n", 2, "10XB"),
    ] {
        let configs: Vec<ScrapeConfig> = yaml::read(Path::new("x.yml"), text).unwrap();
        let error = configs[0].resolve(&GlobalDefaults::default(), Path::new(".")).unwrap_err();
        assert!(error.to_string().contains(part) && error.place().line() == line, "{text}: {error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    for (text, part) in [
        ("- job_name: a\n  scrape_intervall: 5s\n", "scrape_intervall"),
        ("- job_name: a\n  sample_limit: -1\n", ""),
        ("- job_name: a\n  kubernetes_sd_configs: [{role: pod}]\n", "kubernetes_sd_configs is not built yet"),
        ("- job_name: a\n  relabel_configs: [{regexp: x}]\n", "regexp"),
    ] {
        let error = yaml::read::<Vec<ScrapeConfig>>(Path::new("x.yml"), text).unwrap_err();
        assert!(error.line == 2 && error.message.contains(part), "{text}: {error}");
    }
}
