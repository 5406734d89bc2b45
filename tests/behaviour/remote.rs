//! Range queries against a small server on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sideband::model::{Labels, Sample};
use sideband::net::http::HttpClientConfig;
use sideband::remote::{QueryLimits, RemoteQuery};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What was asked: the method and the fields of the form.
type Asked = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

fn decode(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(b) = bytes.next() {
        let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16)).unwrap() as u8;
        out.push(if b == b'%' { digit() * 16 + digit() } else { b });
    }
    String::from_utf8(out).unwrap()
}

fn form(text: &str) -> BTreeMap<String, String> {
    text.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), decode(v))).collect()
}

/// Serves `answer(method, form) -> (status, body)`.
async fn serve(
    answer: impl Fn(&str, &BTreeMap<String, String>) -> (u16, String) + Send + Sync + 'static,
) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prometheus/", listener.local_addr().unwrap());
    let (asked, answer) = (Asked::default(), Arc::new(answer));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match socket.read_u8().await {
                            Ok(b) => head.push(b),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8(head).unwrap();
                    let length = head
                        .lines()
                        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    socket.read_exact(&mut body).await.unwrap();
                    let mut words = head.split(' ');
                    let (method, target) = (words.next().unwrap(), words.next().unwrap());
                    let (path, query) = target.split_once('?').unwrap_or((target, ""));
                    assert_eq!(path, "/prometheus/api/v1/query_range");
                    let fields =
                        if method == "GET" { form(query) } else { form(std::str::from_utf8(&body).unwrap()) };
                    let (status, text) = answer(method, &fields);
                    seen.lock().unwrap().push((method.to_owned(), fields));
                    let out = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                    if socket.write_all(out.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, asked)
}

/// A matrix with one series `up{job=…}` per name, whose value is the timestamp in seconds.
fn matrix(fields: &BTreeMap<String, String>, jobs: &[&str]) -> String {
    let number = |name: &str| fields[name].parse::<f64>().unwrap();
    let (start, end, step) = (number("start"), number("end"), number("step"));
    let mut values = Vec::new();
    let mut i = 0.0;
    while start + i * step <= end + 1e-6 {
        values.push(format!("[{0},\"{0}\"]", start + i * step));
        i += 1.0;
    }
    let series: Vec<String> = jobs
        .iter()
        .map(|job| {
            format!(
                "{{\"metric\":{{\"__name__\":\"up\",\"job\":\"{job}\"}},\"values\":[{}]}}",
                values.join(",")
            )
        })
        .collect();
    format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{}]}}}}",
        series.join(",")
    )
}

fn remote(url: &str, limits: QueryLimits) -> RemoteQuery {
    RemoteQuery::new(url, &HttpClientConfig::default()).unwrap().with_limits(limits)
}

const SMALL: QueryLimits =
    QueryLimits { timeout: Duration::from_secs(60), max_body: 1 << 20, max_series: 3, max_samples: 100_000 };

#[tokio::test]
async fn a_long_range_is_asked_for_in_pieces_and_joined() {
    let (url, asked) = serve(|_, fields| (200, matrix(fields, &["a", "b"]))).await;
    // 25,000 steps of 15 s from a time with milliseconds.
    let (start, step) = (1_700_000_000_500, 15_000);
    let series = remote(&url, QueryLimits::default())
        .range("up{job=~\"a+|b\"} > 0", start, start + 24_999 * step + 7, step)
        .await
        .unwrap();
    assert_eq!(series.len(), 2);
    assert_eq!(series[0].0, Labels::from_pairs([("__name__", "up"), ("job", "a")]));
    for (_, samples) in &series {
        assert_eq!(samples.len(), 25_000);
        for (i, sample) in samples.iter().enumerate() {
            assert_eq!(sample.t, start + i as i64 * step);
        }
    }
    let asked = asked.lock().unwrap();
    let starts: Vec<&str> = asked.iter().map(|(_, f)| f["start"].as_str()).collect();
    assert_eq!(starts, ["1700000000.500", "1700165000.500", "1700330000.500"]);
    assert!(asked.iter().all(|(m, f)| m == "POST" && f["query"] == "up{job=~\"a+|b\"} > 0"));
}

#[tokio::test]
async fn numbers_that_are_none_and_series_that_come_late() {
    let (url, _) = serve(|_, fields| {
        let late = if fields["start"] == "0.000" {
            "[{\"metric\":{},\"values\":[[0,\"NaN\"],[0.001,\"-Inf\"],[1e-2,\"1e3\"]]}]"
        } else {
            // Repeats the end of the piece before; a series with histograms only has no values.
            "[{\"metric\":{\"x\":\"é\"},\"values\":[[11.0,\"1\"]]},{\"metric\":{\"h\":\"1\"},\"histograms\":[]},\
             {\"metric\":{},\"values\":[[0.01,\"7\"],[11,\"8\"]]}]"
        };
        (200, format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":{late}}}}}"))
    })
    .await;
    let series = remote(&url, SMALL).range("x", 0, 11_000, 1).await.unwrap();
    assert_eq!(series.len(), 2);
    let (first, second) = (&series[0].1, &series[1].1);
    assert!(first[0].v.is_nan());
    assert_eq!(first[1], Sample { t: 1, v: f64::NEG_INFINITY });
    assert_eq!(first[2..], [Sample { t: 10, v: 1000.0 }, Sample { t: 11_000, v: 8.0 }]);
    assert_eq!(second[..], [Sample { t: 11_000, v: 1.0 }]);
}

#[tokio::test]
async fn a_piece_that_is_too_large_is_halved() {
    let (url, asked) = serve(|_, fields| (200, matrix(fields, &["a"]))).await;
    let limits = QueryLimits { max_body: 50_000, ..SMALL };
    let series = remote(&url, limits).range("up", 0, 10_999_000, 1000).await.unwrap();
    assert_eq!(series[0].1.len(), 11_000);
    assert!(asked.lock().unwrap().len() > 3);
    // So are those that the server finds too large.
    let (url, _) = serve(|_, fields| {
        let span = fields["end"].parse::<f64>().unwrap() - fields["start"].parse::<f64>().unwrap();
        if span > 1000.0 {
            let error = "query processing would load too many samples into memory in query execution";
            (422, format!("{{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"{error}\"}}"))
        } else {
            (200, matrix(fields, &["a"]))
        }
    })
    .await;
    let series = remote(&url, SMALL).range("up", 0, 3_999_000, 1000).await.unwrap();
    assert_eq!(series[0].1.len(), 4000);
}

#[tokio::test]
async fn a_proxy_that_takes_only_get_is_asked_with_get() {
    let (url, asked) = serve(|method, fields| match method {
        "GET" => (200, matrix(fields, &["a"])),
        _ => (405, "no".to_owned()),
    })
    .await;
    let series = remote(&url, SMALL).range("up + up", 0, 5000, 1000).await.unwrap();
    assert_eq!(series[0].1.len(), 6);
    assert_eq!(asked.lock().unwrap()[1].1["query"], "up + up");
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_words() {
    let many = |n: usize| {
        let names: Vec<String> = (0..n).map(|i| format!("j{i}")).collect();
        move |_: &str, fields: &BTreeMap<String, String>| {
            (200, matrix(fields, &names.iter().map(String::as_str).collect::<Vec<_>>()))
        }
    };
    let fixed = |status: u16, body: &'static str| move || (status, body.to_owned());
    type Answer = Box<dyn Fn() -> (u16, String) + Send + Sync>;
    let cases: [(Answer, &str); 5] = [
        (
            Box::new(fixed(
                400,
                "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"parse error\"}",
            )),
            "refused the query: bad_data: parse error (status 400)",
        ),
        (Box::new(fixed(503, "upstream is away")), "answered status 503 and no JSON"),
        (Box::new(fixed(200, "{}")), "no JSON of the Prometheus API"),
        (
            Box::new(fixed(
                200,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1,\"2\"]}]}}",
            )),
            "refused the query",
        ),
        (
            Box::new(fixed(
                200,
                "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[1,\"x\"]]}]}}",
            )),
            "no JSON of the Prometheus API",
        ),
    ];
    for (answer, want) in cases {
        let (url, _) = serve(move |_, _| answer()).await;
        let error = remote(&url, SMALL).range("up", 0, 5000, 1000).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("http://127.0.0.1"), "{want}: {error}");
    }
    let (url, _) = serve(many(4)).await;
    let error = remote(&url, SMALL).range("up", 0, 5000, 1000).await.unwrap_err().to_string();
    assert_eq!(error, "more than 3 series in the answers");
    let (url, _) = serve(many(3)).await;
    let limits = QueryLimits { max_samples: 10, ..SMALL };
    let error = remote(&url, limits).range("up", 0, 5000, 1000).await.unwrap_err().to_string();
    assert_eq!(error, "more than 10 samples in the answers");
    let nobody = remote("http://name:secret@127.0.0.1:1", SMALL);
    let error = nobody.range("up", 0, 1000, 1000).await.unwrap_err().to_string();
    assert!(!error.contains("secret") && error.contains("127.0.0.1:1"), "{error}");
    assert!(nobody.range("up", 1000, 0, 1000).await.is_err());
    assert!(nobody.range("up", 0, 1000, 0).await.is_err());
}
