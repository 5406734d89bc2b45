//! The tree and the deserializer together, through the door.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::{FileError, Spanned, parse, parse_all};

fn read<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    parse(Path::new("x.yml"), text)
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Round,
    Square(u8),
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Doc {
    text: Option<String>,
    flag: Option<bool>,
    number: Option<u16>,
    signed: Option<i32>,
    float: Option<f64>,
    list: Vec<String>,
    map: BTreeMap<String, String>,
    shape: Option<Shape>,
    seen: Option<Spanned<String>>,
    inner: Option<Box<Doc>>,
}

#[test]
fn typed_values() {
    let doc = Doc::default;
    let text = |t: &str| Doc { text: Some(t.to_owned()), ..doc() };
    for (yaml, expected) in [
        ("", doc()),
        ("# nothing\n", doc()),
        ("null", doc()),
        ("text: 0123", text("0123")),
        ("text: 1e3", text("1e3")),
        ("text: true", text("true")),
        ("text: 'null'", text("null")),
        ("text: \"\"", text("")),
        ("text: !!str null", text("null")),
        ("text: !!binary aGVsbG8=", text("hello")),
        ("text: |\n  a\n  b\n", text("a\nb\n")),
        ("text: >-\n  a\n  b\n", text("a b")),
        ("text: ~", doc()),
        ("text:", doc()),
        ("flag: yes", Doc { flag: Some(true), ..doc() }),
        ("flag: Off", Doc { flag: Some(false), ..doc() }),
        ("flag: True", Doc { flag: Some(true), ..doc() }),
        ("number: 0x10", Doc { number: Some(16), ..doc() }),
        ("number: '7'", Doc { number: Some(7), ..doc() }),
        ("signed: -0o17", Doc { signed: Some(-15), ..doc() }),
        ("float: -.inf", Doc { float: Some(f64::NEG_INFINITY), ..doc() }),
        ("float: 1", Doc { float: Some(1.0), ..doc() }),
        ("list:", doc()),
        ("list: [a, 1]", Doc { list: vec!["a".into(), "1".into()], ..doc() }),
        ("list:\n- a\n- 'b'\n", Doc { list: vec!["a".into(), "b".into()], ..doc() }),
        ("map: {a: 1}", Doc { map: BTreeMap::from([("a".into(), "1".into())]), ..doc() }),
        ("shape: round", Doc { shape: Some(Shape::Round), ..doc() }),
        ("shape: {square: 3}", Doc { shape: Some(Shape::Square(3)), ..doc() }),
        ("{\"text\": \"json\"}", text("json")),
        ("\u{feff}text: bom", text("bom")),
    ] {
        assert_eq!(read::<Doc>(yaml).unwrap(), expected, "{yaml:?}");
    }
}

#[test]
fn values_of_any_type() {
    for (yaml, expected) in [
        ("[null, ~, '~', true, 'true', yes]", json!([null, null, "~", true, "true", "yes"])),
        ("[1, -1, 0x1f, 1.5, '1', 1_000]", json!([1, -1, 31, 1.5, "1", 1000])),
        ("[!!str 1, !!int '1', !!float 1, !!bool 'true']", json!(["1", 1, 1.0, true])),
        ("{a: {b: []}}", json!({"a": {"b": []}})),
        ("a: &x {p: 1}\nb: *x\n", json!({"a": {"p": 1}, "b": {"p": 1}})),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", json!({"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}})),
        (
            "a: &a {p: 1}\nb: &b {p: 2, q: 2}\nc:\n  <<: [*a, *b]\n  r: 3\n",
            json!({"a": {"p": 1}, "b": {"p": 2, "q": 2}, "c": {"p": 1, "q": 2, "r": 3}}),
        ),
        ("{'<<': 1}", json!({"<<": 1})),
        ("a: &x 1\nb: &x 2\nc: *x\n", json!({"a": 1, "b": 2, "c": 2})),
    ] {
        assert_eq!(read::<Value>(yaml).unwrap(), expected, "{yaml:?}");
    }
}

#[test]
fn refused_with_the_place() {
    for (yaml, line, column, part) in [
        ("text: a\nflg: 1\n", 2, 1, "unknown field `flg`, did you mean `flag`?"),
        ("[]", 1, 1, "expected a mapping, got a list"),
        ("text: a\nnope: 1\n", 2, 1, "unknown field `nope`, expected one of text, flag"),
        ("text: a\ntext: b\n", 2, 1, "duplicate mapping key: text, first on line 1"),
        ("inner:\n  text: a\n  'text': b\n", 3, 3, "duplicate"),
        ("map: {a: 1, a: 2}", 1, 13, "duplicate"),
        ("text: [a]", 1, 7, "expected a string"),
        ("list: [a, null]", 1, 11, "expected a string, got nothing"),
        ("list: s3cret", 1, 7, "expected a list, got a single value"),
        ("map: []", 1, 6, "expected a mapping, got a list"),
        ("flag: 'yes'", 1, 7, "expected true or false, got \"yes\""),
        ("flag: yEs", 1, 7, "expected true or false, got \"yEs\""),
        ("nope:", 1, 1, "unknown field `nope`"),
        ("number: 0123", 1, 9, "expected a whole number from 0 up, got \"0123\""),
        ("number: 70000", 1, 9, "70000"),
        ("number: -1", 1, 9, "-1"),
        ("number: 1.5", 1, 9, "1.5"),
        ("float: nan", 1, 8, "nan"),
        ("float: 1e999", 1, 8, "1e999"),
        ("shape: flat", 1, 8, "unknown value `flat`, expected one of round, square"),
        ("shape: sqare", 1, 8, "unknown value `sqare`, did you mean `square`?"),
        ("text: !!int 1", 1, 13, "expected a string"),
        ("text: !!binary '*'", 1, 16, "base64"),
        ("text: !!binary /w==", 1, 16, "UTF-8"),
        ("map: {<<: 1}", 1, 11, "merge"),
        ("text: *nowhere", 1, 7, "anchor"),
        ("map: &m {a: *m}", 1, 13, "inside"),
        ("text: a\n---\ntext: b\n", 3, 1, "multiple"),
        ("list: [a\n", 0, 0, ""),
        ("text: 'a\n", 0, 0, ""),
        ("inner:\n  number: x\n", 2, 11, "x"),
    ] {
        let e = read::<Doc>(yaml).unwrap_err();
        assert!(e.line > 0 && e.message.contains(part), "{yaml:?}: {e}");
        assert!(line == 0 || (e.line, e.column) == (line, column), "{yaml:?}: {e}");
    }
}

#[test]
fn places_of_aliases_and_merges() {
    let yaml = "inner: &i\n  seen: é a\ntext: &t v\nseen: *t\n";
    let doc: Doc = read(yaml).unwrap();
    let seen = doc.seen.unwrap();
    assert_eq!((seen.referenced.line(), seen.referenced.column()), (4, 7));
    assert_eq!((seen.defined.line(), seen.defined.column()), (3, 10));
    let inner = doc.inner.unwrap().seen.unwrap();
    assert_eq!((inner.referenced, inner.value.as_str()), (inner.defined, "é a"));

    let maps: BTreeMap<String, BTreeMap<String, Spanned<String>>> =
        read("a: &a\n  k: v\nb:\n  <<: *a\n").unwrap();
    let k = &maps["b"]["k"];
    assert_eq!((k.referenced.line(), k.referenced.column(), k.defined.line()), (4, 7, 2));

    // Another format has no places.
    let other: Spanned<Vec<u8>> = serde_json::from_str("[1]").unwrap();
    assert_eq!((other.value, other.referenced.line()), (vec![1], 0));
}

#[test]
fn many_documents() {
    let all = |text| parse_all::<Vec<u8>>(Path::new("x.yml"), text);
    for (text, expected) in [
        ("", vec![]),
        ("---\n---\n[1]\n---\n~\n---\n[2]\n...\n", vec![vec![1], vec![2]]),
        ("[1]", vec![vec![1]]),
    ] {
        assert_eq!(all(text).unwrap(), expected, "{text:?}");
    }
    let e = all("[1]\n---\n[x]\n").unwrap_err();
    assert_eq!((e.line, e.column), (3, 2));
    assert!(all(&"--- 1\n".repeat(1025)).is_err());
}

#[test]
fn bombs_are_stopped() {
    let mut laughs = "l0: &l0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
    let mut merged = "l0: &l0 {a: [a, a, a, a, a, a, a, a, a, a]}\n".to_owned();
    let mut tower = "l0: &l0 [a]\n".to_owned();
    for n in 1..70 {
        let before = n - 1;
        let ten = vec![format!("*l{before}"); 10].join(", ");
        laughs += &format!("l{n}: &l{n} [{ten}]\n");
        let ten: Vec<String> = (0..10).map(|i| format!("k{n}_{i}: *l{before}")).collect();
        merged += &format!("l{n}: &l{n} {{<<: *l{before}, {}}}\n", ten.join(", "));
        tower += &format!("l{n}: &l{n} [*l{before}]\n");
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(", "));
    let deep = ["[".repeat(65), "]".repeat(65)].concat();
    for text in [laughs, merged, tower, long, deep] {
        let e = read::<IgnoredAny>(&text).unwrap_err();
        assert!(e.line > 0, "{e}");
    }
    let allowed = ["[".repeat(64), "]".repeat(64)].concat();
    assert!(read::<Value>(&allowed).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "[-a:{}\\[\\]&*!'\"|>#%~<,? \n\t0-9.é]{0,60}") {
        let _ = read::<Value>(&text);
        let _ = read::<Doc>(&text);
        let _ = parse_all::<Spanned<Doc>>(Path::new("x.yml"), &text);
    }

    #[test]
    fn any_string_panics_nothing(text in ".{0,60}") {
        let _ = read::<Value>(&text);
    }

    #[test]
    fn json_is_read_as_it_is(keys in proptest::collection::btree_map("[a-zé]{1,4}", -1000i64..1000, 0..8)) {
        let text = json!({"k": keys, "l": [keys.clone()]}).to_string();
        prop_assert_eq!(read::<Value>(&text).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
    }
}

#[test]
fn a_key_that_is_there_and_empty_is_left_out() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Plain {
        text: String,
        flag: bool,
        number: u16,
    }
    assert_eq!(read::<Plain>("{text: , flag: ~, number: null}").unwrap(), Plain::default());
    let error = read::<Plain>("{text: , flg: }").unwrap_err();
    assert!(error.to_string().contains("unknown field `flg`"), "{error}");
}
